"""Kinds of evaluation sets: an entry each, and what the sweep file checks by them."""
