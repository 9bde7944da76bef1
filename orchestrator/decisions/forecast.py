"""Which trials of a cohort may still end best: a credible set under the forecast, by simulation with fixed draws.

At a milestone the smallest set of trials goes on that holds the best final result (or one within the tolerance of it)
with probability ``1 - miss``. So where the forecast is sure nearly all stop early, and where it is not
many go on; there is no reduction factor to set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from orchestrator.decisions.forecast_model import SHIPPED_WEIGHTS, ForecastModel, load_model
from orchestrator.decisions.forecast_panel import Array, make_panel
from orchestrator.decisions.sighting import Sighting

RULE = "forecast"
DRAWS = 1024
CONTENDERS = 256
"""Only so many trials, the best expected ones, are drawn; the others have no chance to speak of."""


@dataclass(frozen=True)
class ForecastRule:
    """Parameters of stopping by forecast.

    Args:
        enabled: Whether the rule compares trials (instead of the rungs' fixed share).
        miss: Probability, at each milestone, that the best trial is not among those that go on.
        tolerance: Tolerated regret: a trial that ends this close to the best counts as the best; in the objective's units.
        weights: Fitted weights, or the file that holds them.

    Raises:
        ValueError: If a parameter is out of range; states the value.
    """

    enabled: bool = False
    miss: float = 0.05
    tolerance: float = 0.0
    weights: Path | ForecastModel = SHIPPED_WEIGHTS

    @property
    def model(self) -> ForecastModel:
        """The weights, read if need be."""
        return load_model(self.weights) if isinstance(self.weights, Path) else self.weights

    def __post_init__(self) -> None:
        if not 0 < self.miss < 1:
            raise ValueError(f"miss must be a probability between 0 and 1 (exclusive), got {self.miss}")
        if not (self.tolerance >= 0 and math.isfinite(self.tolerance)):
            raise ValueError(f"tolerance must be a finite number from 0, got {self.tolerance}")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of one trial.

    Args:
        expected: Expected final objective, in its own units, turned so that less is better.
        low: Lower end of its 90 % band.
        high: Upper end.
        best_expected: Expected final objective of the trial that is expected to end best.
        probability: Probability that it ends best.
        keeps: Whether it belongs to the credible set.
    """

    expected: float
    low: float
    high: float
    best_expected: float
    probability: float
    keeps: bool


def forecast(
    sightings: Sequence[Sighting], levels: Sequence[int], budget: int, rule: ForecastRule, survivors: float = 1.0
) -> dict[str, Forecast]:
    """Return a forecast for every trial of a cohort at one milestone; objectives must be finite.

    Args:
        sightings: The trials, each with a score at every level.
        levels: Samples seen at the milestones so far, the last is now.
        budget: Samples of a whole trial.
        rule: Parameters.
        survivors: Share of the cohort's trials that these are; the others were stopped before.

    Deterministic: the same sightings give the same forecasts, in whatever order they come.
    """
    ordered = sorted(sightings, key=lambda sighting: sighting.trial_id)
    if not ordered:
        return {}
    panel, model = make_panel(ordered, levels, budget, survivors), rule.model
    mean, deviation = model.mean_and_deviation(panel)
    tolerance = float(np.arcsinh(rule.tolerance / model.final_unit(panel)))
    probability, keeps = credible_set(mean, deviation, rule.miss, tolerance)
    expected = model.in_units(panel, mean)
    low, high = model.band(panel, mean, deviation)
    best = float(expected.min())
    return {
        trial_id: Forecast(float(expected[row]), float(low[row]), float(high[row]), best,
                           float(probability[row]), bool(keeps[row]))
        for row, trial_id in enumerate(panel.trial_ids)
    }  # fmt: skip


def credible_set(mean: Array, deviation: float, miss: float, tolerance: float = 0.0) -> tuple[Array, Array]:
    """Return each trial's probability to end best, and whether it belongs to the smallest sufficient set.

    Args:
        mean: Expected final objectives, shape [trials]; less is better.
        deviation: Standard deviation of each, independent.
        miss: How probable it may be that the set misses the best.
        tolerance: A draw this close to the best counts as the best.
    """
    contenders = np.argsort(mean, kind="stable")[:CONTENDERS]
    draws = mean[contenders] + deviation * _normals(len(contenders))
    best = draws.min(axis=1)
    wins = np.bincount(draws.argmin(axis=1), minlength=len(contenders)) / DRAWS
    order = np.lexsort((mean[contenders], -wins))
    covered = (np.minimum.accumulate(draws[:, order], axis=1) <= best[:, None] + tolerance).mean(axis=0)
    size = int(np.argmax(covered >= 1 - miss)) + 1
    probability, keeps = np.zeros(len(mean)), np.zeros(len(mean), dtype=bool)
    probability[contenders] = wins
    keeps[contenders[order[:size]]] = True
    return probability, keeps


def _normals(count: int) -> Array:
    return _table()[:, :count]


@lru_cache(maxsize=1)
def _table() -> Array:
    # One fixed table: a decision must not depend on how many decisions came before it.
    return np.random.default_rng(0).standard_normal((DRAWS, CONTENDERS))
