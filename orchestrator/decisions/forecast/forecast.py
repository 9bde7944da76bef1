"""Which trials of a cohort may still end best: a credible set under the forecast, by simulation with fixed draws.

At a milestone the smallest set of trials goes on that holds the best final result (or one within the tolerance of it)
with probability ``1 - miss``. So where the forecast is sure nearly all stop early, and where it is not
many go on; there is no reduction factor to set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.decisions.forecast.landing import corrected, learned_landing
from orchestrator.decisions.forecast.model import ForecastModel
from orchestrator.decisions.forecast.observation import Observation
from orchestrator.decisions.forecast.panel import Array, Panel, make_panel
from orchestrator.decisions.trials import UNKNOWN_EPOCHS

RULE = "forecast"
DRAWS = 1024
CONTENDERS = 256
"""Only so many trials, the best expected ones, are drawn; the others have no chance to speak of."""


class ForecastOptions(Protocol):
    """What a forecast is made by."""

    @property
    def miss(self) -> float:
        """Probability, at each milestone, that the best trial is not among those that go on."""
        ...

    @property
    def tolerance(self) -> float:
        """A trial that ends this close to the best counts as the best; in the objective's units."""
        ...

    @property
    def model(self) -> ForecastModel:
        """The weights."""
        ...


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
        improvement: How much better than the best of the others it is expected to end, 0 where it ends no better; in the
            objective's units.
    """

    expected: float
    low: float
    high: float
    best_expected: float
    probability: float
    keeps: bool
    improvement: float


@dataclass(frozen=True)
class Survey:
    """A cohort at one milestone and what its trials' pasts alone say.

    Args:
        observations: The trials, by id.
        panel: They as numbers.
        mean: Expected final objectives on the panel's scale, shape [trials].
        deviation: Standard deviation of each.
    """

    observations: tuple[Observation, ...]
    panel: Panel
    mean: Array
    deviation: float


@dataclass(frozen=True)
class CredibleSet:
    """Who may end best.

    Args:
        wins: Probability of each trial to end best, shape [trials].
        keeps: Which trials belong to the smallest sufficient set, bool of shape [trials].
        improvement: Expected improvement of each over the best expected of the others, shape [trials].
    """

    wins: Array
    keeps: npt.NDArray[np.bool_]
    improvement: Array


def survey(
    observations: Iterable[Observation],
    levels: Sequence[int],
    budget: int,
    model: ForecastModel,
    survivors: float = 1.0,
    epochs: float = UNKNOWN_EPOCHS,
) -> Survey:
    """Return what the trials' pasts say; in whatever order they come.

    Args:
        observations: At least one trial, each with a finite score at every level.
        levels: Samples seen at the milestones so far, the last is now.
        budget: Samples of a whole trial.
        model: Weights.
        survivors: Share of the cohort's trials that these are; the others were stopped before.
        epochs: How often a whole trial sees each training row.
    """
    ordered = tuple(sorted(observations, key=lambda observation: observation.trial_id))
    panel = make_panel(ordered, levels, budget, survivors, epochs)
    return Survey(ordered, panel, *model.mean_and_deviation(panel))


def forecast(seen: Survey, rule: ForecastOptions, ends: Mapping[str, float] | None = None) -> dict[str, Forecast]:
    """Return a forecast for every trial of a cohort at one milestone.

    Args:
        seen: The cohort.
        rule: Parameters.
        ends: Final objective of every trial that has trained to its end. What became of them corrects where the cohort
            is thought to land, and the forecasts of similar recipes.

    Deterministic: the same cohort gives the same forecasts.
    """
    panel, guess = seen.panel, rule.model.landing(seen.panel)
    ended = {trial_id: end for trial_id, end in (ends or {}).items() if math.isfinite(end)}
    completed = np.array([row for row, name in enumerate(panel.trial_ids) if name in ended], dtype=np.int64)
    final = np.array([ended[panel.trial_ids[row]] for row in completed])
    landing = learned_landing(guess, seen.mean[completed], seen.deviation, final)
    mean = corrected(seen.observations, seen.mean, seen.deviation, completed, landing.scale(final))
    deviation = np.full(len(mean), seen.deviation)
    deviation[completed] = 0.0
    found = credible_set(mean, deviation, rule.miss, float(np.arcsinh(rule.tolerance / landing.unit)))
    expected = landing.values(mean)
    low, high = landing.band(mean, deviation)
    for end in (expected, low, high):
        end[completed] = final
    best = float(expected.min())
    return {
        trial_id: Forecast(
            float(expected[row]),
            float(low[row]),
            float(high[row]),
            best,
            float(found.wins[row]),
            bool(found.keeps[row]),
            landing.unit * float(found.improvement[row]),
        )
        for row, trial_id in enumerate(panel.trial_ids)
    }


def credible_set(mean: Array, deviation: Array, miss: float, tolerance: float = 0.0) -> CredibleSet:
    """Return each trial's probability to end best, and whether it belongs to the smallest sufficient set.

    Args:
        mean: Expected final objectives, shape [trials]; less is better.
        deviation: Standard deviations, shape [trials]; independent, 0 where the end is known.
        miss: How probable it may be that the set misses the best.
        tolerance: A draw this close to the best counts as the best.
    """
    contenders = np.argsort(mean, kind="stable")[:CONTENDERS]
    expected = mean[contenders]
    draws = expected + deviation[contenders] * _normals(len(contenders))
    best = draws.min(axis=1)
    wins = np.bincount(draws.argmin(axis=1), minlength=len(contenders)) / DRAWS
    order = np.lexsort((expected, -wins))
    covered = (np.minimum.accumulate(draws[:, order], axis=1) <= best[:, None] + tolerance).mean(axis=0)
    size = int(np.argmax(covered >= 1 - miss)) + 1
    result = CredibleSet(np.zeros(len(mean)), np.zeros(len(mean), dtype=bool), np.zeros(len(mean)))
    result.wins[contenders] = wins
    result.keeps[contenders[order[:size]]] = True
    rival = np.full(len(contenders), expected[0])
    rival[0] = expected[1] if len(contenders) > 1 else expected[0]
    result.improvement[contenders] = np.maximum(0.0, rival - draws).mean(axis=0)
    return result


def _normals(count: int) -> Array:
    return _table()[:, :count]


@lru_cache(maxsize=1)
def _table() -> Array:
    # One fixed table: a decision must not depend on how many decisions came before it.
    return np.random.default_rng(0).standard_normal((DRAWS, CONTENDERS))
