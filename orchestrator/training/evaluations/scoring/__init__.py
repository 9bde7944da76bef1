"""Scoring a model on evaluation sets, with a cache by what decides the scores."""
