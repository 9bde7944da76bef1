"""The searcher that a sweep file names."""

from __future__ import annotations

from typing import cast

from orchestrator.coordinating.searchers.own_space import OwnSpaceSearcher
from orchestrator.coordinating.searchers.searcher import Searcher, SearcherFactory, SearchTask
from orchestrator.lazy_names import load
from orchestrator.spec.searchers import searcher_kind
from orchestrator.spec.sweep import SweepSpec


def make_searcher(spec: SweepSpec, samples: int, trials: int) -> Searcher:
    """Return the searcher that a sweep's ``searcher`` names, already limited to what the space holds.

    Args:
        spec: The sweep.
        samples: Budget of one trial.
        trials: How many trials are planned.
    """
    kind, space = searcher_kind(spec.searcher.kind), spec.search_space
    objectives = spec.searcher.objectives or [spec.objective]
    make = cast(SearcherFactory, load(kind.factory))
    searcher = make(SearchTask(space, spec.searcher, objectives, samples, trials))
    return OwnSpaceSearcher(searcher, space) if kind.learns else searcher
