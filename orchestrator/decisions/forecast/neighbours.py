"""What a trial's neighbours say of it: trials of the same method at a similar learning rate and effective batch size.

A single early score is noisy; how the recipes beside it do, and on which side of the best one a recipe lies, is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orchestrator.decisions.forecast.observation import Observation

Array = npt.NDArray[np.float64]

RATE_STEP, BATCH_STEP = math.log(3.0), math.log(4.0)
"""A learning rate three times as high, or a batch four times as large, is one step away."""

FARTHEST = 4.0
"""How badly a neighbour does beyond this does not matter: it has failed."""

LEAST_WEIGHT = 0.1
OTHER_METHOD = 2.0
"""Squared steps between two methods at the same learning rate and batch."""

ROWS_AT_ONCE = 512
"""Bounds the memory of the weights in a sweep of many thousand trials."""


def neighbourhood(observations: Sequence[Observation], values: Array) -> list[Array]:
    """Return what stands beside every trial, five columns of shape [trials].

    They are the neighbours' mean value, how far it lies above the trial's own, the best value of the trial's method,
    and the steps in learning rate from that best trial and in batch size from the best of all.

    Args:
        observations: The trials.
        values: Extrapolated objectives on the panel's scale, shape [trials]; less is better.
    """
    rates, batches = _places(observations)
    _, methods = np.unique([each.method for each in observations], return_inverse=True)
    mean, best, rate_from_best = values.copy(), values.copy(), np.zeros(len(values))
    for method in range(int(methods.max()) + 1):
        rows = np.flatnonzero(methods == method)
        mean[rows] = _means(rates[rows], batches[rows], values[rows])
        leader = rows[int(np.argmin(values[rows]))]
        best[rows], rate_from_best[rows] = values[leader], rates[rows] - rates[leader]
    batch_from_best = batches - batches[int(np.argmin(values))]
    return [mean, mean - values, best, rate_from_best, batch_from_best]


def closeness(observations: Sequence[Observation], others: npt.NDArray[np.int64]) -> Array:
    """Return how close every trial's recipe is to that of some others: 1 for the same recipe, shape [trials, others].

    Args:
        observations: The trials.
        others: Rows of the others.
    """
    rates, batches = _places(observations)
    methods = np.array([each.method for each in observations])
    apart = (rates[:, None] - rates[others]) ** 2 + (batches[:, None] - batches[others]) ** 2
    apart += OTHER_METHOD * (methods[:, None] != methods[others])
    result: Array = np.exp(-0.5 * apart)
    return result


def _places(observations: Sequence[Observation]) -> tuple[Array, Array]:
    rates = np.log([each.learning_rate for each in observations]) / RATE_STEP
    return rates, np.log([float(each.effective_batch_size) for each in observations]) / BATCH_STEP


def _means(rates: Array, batches: Array, values: Array) -> Array:
    """Return every trial's mean over its neighbours, weighted by a Gaussian of the steps between; its own value without any."""
    capped, result = np.minimum(values, FARTHEST), values.copy()
    for first in range(0, len(values), ROWS_AT_ONCE):
        rows = np.arange(first, min(first + ROWS_AT_ONCE, len(values)))
        apart = (rates[rows, None] - rates) ** 2 + (batches[rows, None] - batches) ** 2
        weights = np.exp(-0.5 * apart)
        weights[np.arange(len(rows)), rows] = 0.0
        total = weights.sum(axis=1)
        known = total > LEAST_WEIGHT
        result[rows[known]] = (weights[known] @ capped) / total[known]
    return result
