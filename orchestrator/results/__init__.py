"""Typed results of commands, and statuses."""

from orchestrator.lazy_names import attach

__getattr__, __dir__, __all__ = attach(__name__)
