"""Where configurations come from: grid, random, Sobol, and Optuna's samplers, behind one small contract.

A source is a deterministic function of its seed and of what it was told, so that a resumed sweep rebuilds
it by telling it everything the journal holds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from orchestrator.coordinating.searchers.sobol import sobol_points
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.search_space.enumeration import (
    config_at,
    count_configs,
    cube_dimensions,
    grid_configs,
    holds,
    with_repeats,
)
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.sweep import SearcherSpec, SweepSpec
from orchestrator.spec.trial.identity import trial_fingerprint

# Points in a row that repeat a known configuration before the rest of a finite space is taken in order.
MAX_REPEATED_POINTS = 200


class Searcher(Protocol):
    """Proposes configurations and hears how they do.

    Contract: `propose` returns a new configuration, none that it proposed or was told of before, or None when
    there are no more. `tell` is called for every configuration that was proposed, by this or by an earlier,
    interrupted process, any number of times. The same calls in the same order give the same proposals; `propose`
    stands for a tell of what it proposed as pending.
    """

    def propose(self) -> TrialConfig | None:
        """Return the next configuration, or None when the space is exhausted."""
        ...

    def tell(
        self, config: TrialConfig, outcome: Outcome, level: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Learn of a configuration; what was told of it before stays known.

        Args:
            config: A configuration that was proposed.
            outcome: How it stands now; replaces what was told before.
            level: A milestone in samples, the same number for every trial at it (a trial's own samples seen
                differ by its batch size). Read with ``scores`` only.
            scores: Metric -> value at that milestone; None or empty: nothing new.
        """
        ...


class ListSource:
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


class SpaceSource:
    """A learning source that hears of its own search space only: an extended sweep may have trials of another one."""

    def __init__(self, source: Searcher, space: SearchSpace) -> None:
        self._source, self._space = source, space

    def propose(self) -> TrialConfig | None:
        """Return what the source proposes."""
        return self._source.propose()

    def tell(
        self, config: TrialConfig, outcome: Outcome, level: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Pass on what is told of a configuration that the search space holds."""
        if holds(self._space, config):
            self._source.tell(config, outcome, level, scores)


def make_source(spec: SweepSpec, samples: int, trials: int) -> Searcher:
    """Return the source that a sweep's ``searcher`` names, already limited to what the space holds."""
    kind, space = spec.searcher.kind, spec.search_space
    if kind == "grid":
        return ListSource(grid_configs(space, samples))
    if kind in ("random", "sobol"):
        distinct = math.ceil(trials / space.repeats)
        return ListSource(list(with_repeats(_distinct_configs(spec, samples, distinct), space.repeats)))
    # Only sweeps that learn load Optuna.
    from orchestrator.coordinating.searchers.optuna_searcher import OptunaSource

    return SpaceSource(OptunaSource(space, spec.searcher, spec.searcher.objectives or [spec.objective], samples), space)


def _distinct_configs(spec: SweepSpec, samples: int, count: int) -> list[TrialConfig]:
    """Draw different configurations; fewer than asked when the space does not hold so many."""
    found: dict[str, TrialConfig] = {}
    repeated = 0
    for point in _points(spec.searcher, cube_dimensions(spec.search_space)):
        config = config_at(spec.search_space, point, samples)
        fingerprint = trial_fingerprint(config)
        repeated = repeated + 1 if fingerprint in found else 0
        found.setdefault(fingerprint, config)
        if len(found) >= count or repeated >= MAX_REPEATED_POINTS:
            break
    held = count_configs(spec.search_space)
    if len(found) < count and held is not None:
        # Random points rarely hit the last free cells of a small finite space: add them in order.
        once = spec.search_space.model_copy(update={"repeats": 1})
        for config in grid_configs(once, samples):
            found.setdefault(trial_fingerprint(config), config)
    return list(found.values())[:count]


def _points(searcher: SearcherSpec, dimensions: int) -> Iterator[Any]:
    if searcher.kind == "sobol":
        return sobol_points(dimensions, searcher.seed)
    generator = np.random.default_rng(searcher.seed)
    return (generator.random(dimensions) for _ in itertools.count())
