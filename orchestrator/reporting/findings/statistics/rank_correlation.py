"""Spearman's rank correlation of many resamples at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


def spearman(one: Array, other: Array) -> Array:
    """Return Spearman's rank correlation over the last axis; ties share their mean rank, infinite values rank last.

    Args:
        one: Shape [..., n].
        other: The same shape.

    Returns:
        Shape [...]; NaN where one of the two is constant or holds NaN.
    """
    ranks = [stats.rankdata(values, axis=-1, nan_policy="propagate") for values in (one, other)]
    centred = [rank - rank.mean(axis=-1, keepdims=True) for rank in ranks]
    products = (centred[0] * centred[1]).sum(axis=-1)
    sizes = np.sqrt((centred[0] ** 2).sum(axis=-1) * (centred[1] ** 2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(sizes > 0, products / sizes, np.nan), dtype=np.float64)
