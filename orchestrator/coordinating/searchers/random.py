"""``random``: independent points of the space."""

from __future__ import annotations

import itertools

import numpy as np

from orchestrator.coordinating.searchers.listed import listed_points
from orchestrator.coordinating.searchers.searcher import Searcher, SearchTask
from orchestrator.spec.search_space.enumeration import cube_dimensions


def random_searcher(task: SearchTask) -> Searcher:
    """Return a searcher that draws every point anew."""
    generator, dimensions = np.random.default_rng(task.spec.seed), cube_dimensions(task.space)
    return listed_points(task, (generator.random(dimensions).tolist() for _ in itertools.count()))
