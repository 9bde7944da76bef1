"""Starting or joining Ray: one file for each kind of cluster."""
