"""Answer loss on held-out rows."""
