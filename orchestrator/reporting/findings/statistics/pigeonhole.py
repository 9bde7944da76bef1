"""The pigeonhole bootstrap: resample configurations and seeds independently where every seed meets every configuration.

Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2). Trials of one seed share data order, trials
of one configuration share everything else, so neither trials nor configurations alone are independent units. For the
variance of a mean it is conservative; with few rows or columns the percentile interval of a rank correlation is rough,
and its measured coverage stands in docs/explanation/findings.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from orchestrator.reporting.findings.statistics.estimates import LEVEL, UNKNOWN, Effect
from orchestrator.reporting.findings.statistics.rank_correlation import Array

RESAMPLES = 2_000

Strata = Sequence[tuple[Array, ...]]
"""Strata (batch sizes, say) of which each holds the same quantities, as matrices [configurations, seeds]."""

Statistic = Callable[..., Array]
"""From the quantities of one stratum, flattened to [resamples, cells], to [resamples]."""


def pigeonhole_effect(strata: Strata, statistic: Statistic, seed: int = 0, resamples: int = RESAMPLES) -> Effect:
    """Return a statistic averaged over strata, with its percentile interval.

    Args:
        strata: Each a tuple of matrices [configurations, seeds] that are resampled alike; all strata have the same
            seeds, which are resampled together.
        statistic: Of one stratum; NaN where it does not exist. A resample counts with the strata in which it does.
        seed: Of the resampling.
        resamples: How often.

    Returns:
        The effect; its ``n`` counts trials.
    """
    if not strata:
        return UNKNOWN
    random = np.random.default_rng(seed)
    seeds = strata[0][0].shape[1]
    columns = random.integers(seeds, size=(resamples, 1, seeds))
    drawn, whole = [], []
    for quantities in strata:
        configurations = quantities[0].shape[0]
        rows = random.integers(configurations, size=(resamples, configurations, 1))
        drawn.append(statistic(*(matrix[rows, columns].reshape(resamples, -1) for matrix in quantities)))
        whole.append(statistic(*(matrix.reshape(1, -1) for matrix in quantities)))
    value = float(_mean_known(np.asarray(whole))[0])
    spread = _mean_known(np.asarray(drawn))
    spread = spread[np.isfinite(spread)]
    if not np.isfinite(value) or len(spread) < resamples / 2:
        return UNKNOWN
    tail, one = 50 * (1 - LEVEL), 100 * (1 - LEVEL)
    low, high, one_low, one_high = np.percentile(spread, [tail, 100 - tail, one, 100 - one])
    trials = sum(quantities[0].size for quantities in strata)
    return Effect(value, float(low), float(high), float(one_low), float(one_high), trials)


def _mean_known(values: Array) -> Array:
    """Return the mean over the first axis of what is there."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))
