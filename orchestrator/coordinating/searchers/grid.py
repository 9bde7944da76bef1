"""``grid``: every combination, in order."""

from __future__ import annotations

from orchestrator.coordinating.searchers.listed import ListSearcher
from orchestrator.coordinating.searchers.searcher import Searcher, SearchTask
from orchestrator.spec.search_space.enumeration import grid_configs


def grid_searcher(task: SearchTask) -> Searcher:
    """Return a searcher that proposes every configuration of a finite space."""
    return ListSearcher(grid_configs(task.space, task.samples))
