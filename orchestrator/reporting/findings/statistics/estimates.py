"""Means over paired observations with Student's t interval, and the two one-sided tests of equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
ALPHA = 0.05
"""Of each one-sided test."""


@dataclass(frozen=True)
class Effect:
    """An estimated effect, turned so that more is as claimed.

    Args:
        value: The estimate; NaN without an observation.
        low: Lower end of the 95 % interval; minus infinity where there are too few observations for one.
        high: Upper end; plus infinity there.
        one_sided_low: Lower end of the one-sided 95 % interval (that of the 90 % interval).
        one_sided_high: Upper end of the other one.
        n: Units: pairs (seeds) of a mean, trials of a rank correlation.
        deviation: Standard deviation between the units; NaN where the interval is a bootstrap's.
    """

    value: float
    low: float
    high: float
    one_sided_low: float
    one_sided_high: float
    n: int
    deviation: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is an estimate with a finite interval."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))


UNKNOWN = Effect(math.nan, -math.inf, math.inf, -math.inf, math.inf, 0)
"""Nothing could be estimated."""


def mean_effect(differences: Sequence[float]) -> Effect:
    """Return the mean of paired differences with Student's t intervals.

    Args:
        differences: One per unit (seed), turned so that more is as claimed; NaN where a pair is incomplete.
    """
    values = np.asarray([value for value in differences if math.isfinite(value)], dtype=np.float64)
    n = len(values)
    if n == 0:
        return UNKNOWN
    mean = float(values.mean())
    if n == 1:
        return Effect(mean, -math.inf, math.inf, -math.inf, math.inf, 1)
    deviation = float(values.std(ddof=1))
    two, one = (float(stats.t.ppf(share, n - 1)) * deviation / math.sqrt(n) for share in ((1 + LEVEL) / 2, 1 - ALPHA))
    return Effect(mean, mean - two, mean + two, mean - one, mean + one, n, deviation)


def equivalence_p_value(differences: Sequence[float], margin: float) -> float:
    """Return the p value of the two one-sided t tests (TOST; Schuirmann 1987) that the mean lies within +-margin.

    Args:
        differences: One per unit, at least two.
        margin: Smallest effect that matters, above 0.
    """
    values = np.asarray(differences, dtype=np.float64)
    n, mean, deviation = len(values), float(values.mean()), float(values.std(ddof=1))
    if deviation == 0:
        return 0.0 if abs(mean) < margin else 1.0
    error = deviation / math.sqrt(n)
    below, above = ((margin - sign * mean) / error for sign in (1, -1))
    return float(max(stats.t.sf(below, n - 1), stats.t.sf(above, n - 1)))
