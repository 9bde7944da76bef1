"""Contracts of what can be added, as test classes: an author subclasses one, says how to make the thing, and runs pytest."""

from orchestrator.lazy_names import attach

__getattr__, __dir__, __all__ = attach(__name__)
