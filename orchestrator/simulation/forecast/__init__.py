"""Fitting and scoring the forecast on recorded sweeps."""
