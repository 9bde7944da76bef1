"""Trials that are trained by the user's own code, in a process of their own beside the Ray worker."""
