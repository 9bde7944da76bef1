"""The simulated clock, and the schedulers that run under it."""
