"""Intervals over sweeps and draws: a hierarchical bootstrap with a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES = 400
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval; NaN where it does not exist."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return the three numbers, None for NaN and infinity: JSON has neither."""
        return {name: value if math.isfinite(value) else None for name, value in vars(self).items()}


def _mean(values: Array) -> Array:
    return np.asarray(np.mean(values, axis=-1))


def _median(values: Array) -> Array:
    return np.asarray(np.median(values, axis=-1))


def _p95(values: Array) -> Array:
    return np.asarray(np.quantile(values, 0.95, axis=-1, method="higher"))


STATISTICS: Mapping[str, Callable[[Array], Array]] = {"mean": _mean, "median": _median, "p95": _p95}
"""Over the last axis. The 95th percentile takes the higher neighbour: between two draws there is no third."""


class Bootstrap:
    """Resamples sweeps first, then draws within each; every rule is resampled alike, so that rules can be compared.

    Args:
        sweeps: How many; one sweep is never resampled, the interval is then over draws alone.
        draws: How many per sweep.
        seed: Of the resampling.
        resamples: How often.
    """

    def __init__(self, sweeps: int, draws: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        random = np.random.default_rng(seed)
        chosen = random.integers(sweeps, size=(resamples, sweeps, 1))
        within = random.integers(draws, size=(resamples, sweeps, draws))
        self._flat = (chosen * draws + within).reshape(resamples, -1)

    def estimate(self, values: Array, statistic: str) -> Estimate:
        """Return a statistic over all sweeps and draws.

        Args:
            values: Shape [sweeps, draws].
            statistic: One of `STATISTICS`.
        """
        flat, function = np.asarray(values, dtype=np.float64).reshape(-1), STATISTICS[statistic]
        value = float(function(flat))
        if not np.isfinite(flat).all():
            return Estimate(value, math.nan, math.nan)
        if (flat == flat[0]).all():
            return Estimate(value, value, value)
        tail = 50 * (1 - LEVEL)
        low, high = np.percentile(function(flat[self._flat]), [tail, 100 - tail])
        return Estimate(value, float(low), float(high))
