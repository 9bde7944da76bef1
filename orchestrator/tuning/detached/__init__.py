"""Evaluation sets that are scored beside the trials."""
