"""Quasi-random points of the unit cube."""

from __future__ import annotations

from collections.abc import Iterator


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
