"""Stopping by forecast of each trial's final score."""
