"""A replay of recorded sweeps as table and page."""
