"""Made sweeps of any size."""
