"""Right answers by comparison with references."""
