"""``sobol``: quasi-random points, which fill the space evenly."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.coordinating.searchers.listed import listed_points
from orchestrator.coordinating.searchers.searcher import Searcher, SearchTask
from orchestrator.spec.search_space.enumeration import cube_dimensions


def sobol_searcher(task: SearchTask) -> Searcher:
    """Return a searcher that takes the points of a Sobol sequence in turn."""
    return listed_points(task, sobol_points(cube_dimensions(task.space), task.spec.seed))


def sobol_points(dimensions: int, seed: int, skip: int = 0) -> Iterator[list[float]]:
    """Yield the points of a scrambled Sobol sequence, each ``dimensions`` numbers in [0, 1), without end.

    Args:
        dimensions: Coordinates of a point.
        seed: Seed of the scrambling; equal seeds, equal points.
        skip: How many points to pass over.
    """
    from scipy.stats import qmc

    # Scrambling with a seed keeps Sobol's balance and avoids its first point, the corner of the cube.
    sobol = qmc.Sobol(dimensions, scramble=True, seed=seed)
    if skip:
        sobol.fast_forward(skip)
    while True:
        yield sobol.random(1)[0].tolist()
