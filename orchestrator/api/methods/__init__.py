"""``methods``: what can stand under ``search_space.method``."""
