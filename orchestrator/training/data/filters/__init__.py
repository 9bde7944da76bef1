"""Filters of training rows, one file and one entry each; none yet."""
