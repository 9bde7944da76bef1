"""Findings as registered before any run: claims, designs, the sweeps that they need."""
