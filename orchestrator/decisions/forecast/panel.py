"""A cohort at one milestone as numbers: what the forecast of final scores is computed from.

Everything is relative to the cohort at the same milestone, so that sweeps of any metric, model and budget
look alike: the objective is measured from the best trial in units of the distance between the best and the median
(and compressed, so that diverging trials do not set the scale); all other quantities become normal scores of
their ranks. Everything comes from the past alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from orchestrator.decisions.forecast.neighbours import neighbourhood
from orchestrator.decisions.forecast.observation import Observation
from orchestrator.decisions.trials import UNKNOWN_EPOCHS

Array = npt.NDArray[np.float64]

CLIPPED_NORMAL_SCORE = 2.5


FEATURES = (
    "extrapolated",
    "curvature",
    "learning_rate",
    "learning_rate_squared",
    "batch_size",
    "grad_norm",
    "corrected_norm",
    "train_loss",
    "progress",
    "neighbours",
    "neighbours_lead",
    "method_best",
    "rate_from_best",
    "batch_from_best",
)
"""Columns of a panel; the file of weights names them, so that one of another version is refused."""

EXTRAPOLATION, STRONG_EXTRAPOLATION = 0.25, 0.5
"""Shares of the last change per doubling of samples that are carried to the end; found on recorded sweeps, where a
quarter ranks the finals better than none (no extrapolation), a half or all of it."""

STEEPEST = 3.0
ROUNDED_DIGITS = 6
"""Equal slopes must stay equal: rounding noise would rank them."""


@dataclass(frozen=True)
class Panel:
    """Features of a cohort at one milestone.

    Args:
        trial_ids: Row -> trial.
        features: Float array of shape [trials, len(FEATURES)].
        best: Best extrapolated objective (less is better).
        unit: Distance between best and median extrapolated objective.
        lowest: Best objective now.
        pace: How much the best quarter fell per doubling of the samples since the last milestone, at least 0; None at the
            first.
        positive: Whether all objectives are above 0, so that none will fall below it.
        unrest: How much the better half moved against each other since the last milestone (root mean square, relative
            scores); None at the first.
        alignment: Rank correlation of the objective with the training loss over the cohort, -1 to 1: near 1 where the
            objective measures what is being learned, low or negative where it measures what is kept.
        share: Share of the budget at this milestone.
        survivors: Share of the cohort's trials that are left; the others have been stopped before.
        epochs: How often a whole trial sees each training row.
    """

    trial_ids: tuple[str, ...]
    features: Array
    best: float
    unit: float
    lowest: float
    pace: float | None
    positive: bool
    unrest: float | None
    alignment: float
    share: float
    survivors: float = 1.0
    epochs: float = UNKNOWN_EPOCHS


def relative(values: Array, best: float, unit: float) -> Array:
    """Return values measured from the best in units, compressed like a logarithm far away (asinh)."""
    return np.arcsinh((values - best) / unit)


def centre_and_unit(values: Array) -> tuple[float, float]:
    """Return the best (lowest) value and its distance to the median; the unit is above 0 also where all are equal."""
    best, median = float(np.min(values)), float(np.median(values))
    floor = 1e-6 * max(1.0, abs(best))
    return best, max(median - best, floor)


def normal_scores(values: Array) -> Array:
    """Return normal scores of ranks (ties share, unknown values get 0), shape as given."""
    known = np.isfinite(values)
    result = np.zeros(len(values))
    count = int(known.sum())
    if count < 2:
        return result
    ranks = _mean_ranks(values[known])
    result[known] = np.clip(ndtri((ranks + 0.5) / count), -CLIPPED_NORMAL_SCORE, CLIPPED_NORMAL_SCORE)
    return result


def make_panel(
    observations: Sequence[Observation],
    levels: Sequence[int],
    budget: int,
    survivors: float = 1.0,
    epochs: float = UNKNOWN_EPOCHS,
) -> Panel:
    """Return the features of trials seen at one milestone; their objectives must be finite.

    Args:
        observations: At least one; all have a score at every level.
        levels: Samples seen at the milestones so far, the last is now.
        budget: Samples of a whole trial.
        survivors: Share of the cohort's trials that these are.
        epochs: How often a whole trial sees each training row.
    """
    scores = np.array([observation.scores[-1] for observation in observations])
    unit = centre_and_unit(scores)[1]
    slope = np.clip(_slopes(observations, levels), -STEEPEST * unit, STEEPEST * unit)
    left = math.log2(max(1.0, budget / levels[-1]))
    carried, strongly = (scores + share * left * slope for share in (EXTRAPOLATION, STRONG_EXTRAPOLATION))
    best, carried_unit = centre_and_unit(carried)
    extrapolated = relative(carried, best, carried_unit)
    train_loss = _dynamic(observations, "loss_mean")
    rate = _within(
        np.log([observation.learning_rate for observation in observations]),
        [observation.method for observation in observations],
    )
    columns = [
        extrapolated,
        relative(strongly, *centre_and_unit(strongly)) - extrapolated,
        rate,
        rate**2 - 1.0,
        normal_scores(np.array([float(observation.effective_batch_size) for observation in observations])),
        normal_scores(_dynamic(observations, "grad_norm_mean")),
        normal_scores(_dynamic(observations, "noise_corrected_grad_norm")),
        normal_scores(train_loss),
        normal_scores(np.round(slope / unit, ROUNDED_DIGITS)),
    ]
    columns += neighbourhood(observations, extrapolated)
    return Panel(
        tuple(observation.trial_id for observation in observations),
        np.column_stack(columns),
        best,
        carried_unit,
        float(scores.min()),
        _pace(observations, scores, levels),
        bool(scores.min() > 0),
        _unrest(observations, scores),
        rank_correlation(scores, train_loss),
        min(1.0, levels[-1] / budget),
        survivors,
        epochs,
    )


def _slopes(observations: Sequence[Observation], levels: Sequence[int]) -> Array:
    """Change of the objective per doubling of the samples since the last milestone; 0 at the first."""
    if len(levels) < 2:
        return np.zeros(len(observations))
    doublings = math.log2(levels[-1] / levels[-2])
    return np.array([(observation.scores[-1] - observation.scores[-2]) / doublings for observation in observations])


def _pace(observations: Sequence[Observation], scores: Array, levels: Sequence[int]) -> float | None:
    if len(levels) < 2:
        return None
    before = np.array([observation.scores[-2] for observation in observations])
    leaders = max(3, len(scores) // 4)
    fall = np.sort(before)[:leaders].mean() - np.sort(scores)[:leaders].mean()
    return max(0.0, float(fall)) / math.log2(levels[-1] / levels[-2])


def _unrest(observations: Sequence[Observation], scores: Array) -> float | None:
    if len(observations[0].scores) < 2:
        return None
    before = np.array([observation.scores[-2] for observation in observations])
    better = np.argsort(scores, kind="stable")[: max(3, len(scores) // 2)]
    moved = relative(before, *centre_and_unit(before)) - relative(scores, *centre_and_unit(scores))
    return float(np.sqrt(np.mean(moved[better] ** 2)))


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's correlation over the pairs that are both known; 0 below four of them."""
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 4:
        return 0.0
    a, b = _mean_ranks(first[known]), _mean_ranks(second[known])
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0


def _mean_ranks(values: Array) -> Array:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    ranks: Array = (first + (counts - 1) / 2)[inverse]
    return ranks


def _within(values: Array, groups: Sequence[str]) -> Array:
    """Normal scores within each group: a rate that is high for one method is low for another."""
    result = np.zeros(len(values))
    names = np.array(groups)
    for name in sorted(set(groups)):
        result[names == name] = normal_scores(values[names == name])
    return result


def _dynamic(observations: Sequence[Observation], name: str) -> Array:
    values = [observation.dynamics.get(name) for observation in observations]
    return np.array([math.nan if value is None else float(value) for value in values])
