"""Small made worlds that several tests share: sweeps, models, rows, servers."""
