"""A searcher that learns is told of its own search space only."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.coordinating.searchers.searcher import Searcher
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.search_space.enumeration import holds
from orchestrator.spec.search_space.search_space import SearchSpace


class OwnSpaceSearcher:
    """Passes on to another searcher what its space holds: an extended sweep may have trials of another one."""

    def __init__(self, searcher: Searcher, space: SearchSpace) -> None:
        self._searcher, self._space = searcher, space

    def propose(self) -> TrialConfig | None:
        """Return what the searcher proposes."""
        return self._searcher.propose()

    def tell(
        self, config: TrialConfig, outcome: Outcome, level: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Pass on what is told of a configuration that the search space holds."""
        if holds(self._space, config):
            self._searcher.tell(config, outcome, level, scores)
