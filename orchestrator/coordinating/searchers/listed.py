"""Searchers that know all their configurations from the start, and points of the space as such a list."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.coordinating.searchers.searcher import SearchTask
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.search_space.enumeration import config_at, count_configs, grid_configs, with_repeats
from orchestrator.spec.trial.identity import trial_fingerprint

# Points in a row that repeat a known configuration before the rest of a finite space is taken in order.
MAX_REPEATED_POINTS = 200


class ListSearcher:
    """Proposes a fixed list."""

    def __init__(self, configs: Sequence[TrialConfig]) -> None:
        self._configs = list(configs)
        self._next = 0

    def propose(self) -> TrialConfig | None:
        """Return the next of the list."""
        if self._next >= len(self._configs):
            return None
        self._next += 1
        return self._configs[self._next - 1]

    def tell(
        self, config: TrialConfig, outcome: Outcome, level: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Lists do not learn."""


def listed_points(task: SearchTask, points: Iterator[Sequence[float]]) -> ListSearcher:
    """Return a searcher that proposes the configurations at points of the unit cube, each with its repeats.

    Args:
        task: The task.
        points: Points without end, as many numbers each as `cube_dimensions` says.
    """
    distinct = math.ceil(task.trials / task.space.repeats)
    return ListSearcher(list(with_repeats(_distinct_configs(task, points, distinct), task.space.repeats)))


def _distinct_configs(task: SearchTask, points: Iterator[Sequence[float]], count: int) -> list[TrialConfig]:
    """Draw different configurations; fewer than asked when the space does not hold so many."""
    found: dict[str, TrialConfig] = {}
    repeated = 0
    for point in points:
        config = config_at(task.space, point, task.samples)
        fingerprint = trial_fingerprint(config)
        repeated = repeated + 1 if fingerprint in found else 0
        found.setdefault(fingerprint, config)
        if len(found) >= count or repeated >= MAX_REPEATED_POINTS:
            break
    held = count_configs(task.space)
    if len(found) < count and held is not None:
        # Random points rarely hit the last free cells of a small finite space: add them in order.
        once = task.space.model_copy(update={"repeats": 1})
        for config in grid_configs(once, task.samples):
            found.setdefault(trial_fingerprint(config), config)
    return list(found.values())[:count]
