"""The most likely of several given answers."""
