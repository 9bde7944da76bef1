"""One process's share of a sweep, and what can be known of it before training."""
