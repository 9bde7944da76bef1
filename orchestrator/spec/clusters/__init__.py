"""Cluster profiles: where Ray runs. One file and one entry of `kinds` for each kind of cluster."""
