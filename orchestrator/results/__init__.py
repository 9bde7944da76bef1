"""Typed results of commands, and statuses."""
