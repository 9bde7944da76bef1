"""Estimates and rank correlations with intervals. Pure."""
