"""Recorded sweeps and their replay under a simulated clock, with our stopping engine and with the rivals' own code."""
