"""What one past sweep says of the best learning rate of a method and of the best effective batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance

from orchestrator.reporting.recommendation.beliefs import Observation, Situation
from orchestrator.reporting.recommendation.published import batch_rule, rate_rule
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.training.setup.sizes import ModelFacts

LEAST_TRIALS = 4
BEST_SHARE = 4
"""One in so many of a method's trials counts as its best ones."""

SEED_ERROR = 0.15
"""Least standard error of a best value in log10 (an assumption: the luck of seeds)."""

EDGE_ERROR = 0.5
"""Added where the best value is the lowest or highest tried: better ones may lie beyond."""


@dataclass(frozen=True)
class PastTrial:
    """A trial of a past sweep; ``value`` is its latest score of the objective, None where it diverged or has none."""

    method: str
    learning_rate: float
    effective_batch_size: int
    value: float | None
    samples_seen: int
    completed: bool


@dataclass(frozen=True)
class PastSweep:
    """A sweep that was run before, or a recorded one.

    Attributes:
        name: Its name.
        place: Where it is: a storage folder, a tracking store, a recorded file.
        objective: Kind of its objective: ``loss``, ``downstream`` or ``forgetting``.
        mode: Whether low (``min``) or high (``max``) is best.
        samples: Training budget of a trial.
        model: Its base model.
        data: Identity of its training data.
        rows: Rows of them; 0 where that is not known.
        trials: Its trials, in any order.
    """

    name: str
    place: str
    objective: str
    mode: str
    samples: int
    model: ModelFacts
    data: str
    rows: int
    trials: tuple[PastTrial, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """Its methods that are in the catalogue."""
        return tuple(sorted({trial.method for trial in self.trials if trial.method in METHODS}))


@dataclass(frozen=True)
class Located:
    """Where the best value of a quantity lies in a sweep: log10, its standard error, from how many trials, at an edge."""

    mean: float
    error: float
    trials: int
    at_edge: bool


@dataclass(frozen=True)
class Seen:
    """One piece of evidence: a sweep's best value, as shown to people and as observed against the rule.

    ``method`` is empty for the effective batch size.
    """

    sweep: str
    place: str
    method: str
    best: float
    trials: int
    at_edge: bool
    observation: Observation


def kind_of_objective(label: str) -> str:
    """Return the kind of an objective by its metric: forgetting, a score of another task, or a loss."""
    if "forgetting" in label:
        return "forgetting"
    return "loss" if label.endswith("loss") else "downstream"


def seen_rates(sweep: PastSweep) -> list[Seen]:
    """Return what a sweep says of each of its methods' learning rates."""
    found = []
    for method in sweep.methods:
        own = [trial for trial in sweep.trials if trial.method == method]
        located = locate(own, sweep.mode, lambda trial: trial.learning_rate)
        if located is None:
            continue
        steps = sweep.samples / max(1.0, fmean(trial.effective_batch_size for trial in own))
        rule = rate_rule(method, sweep.model, sweep.objective, round(steps)).belief
        found.append(_seen(sweep, method, located, rule.mean, rule.deviation))
    return found


def seen_batch(sweep: PastSweep) -> Seen | None:
    """Return what a sweep says of the effective batch size; None where it tried one only."""
    located = locate(sweep.trials, sweep.mode, lambda trial: trial.effective_batch_size)
    if located is None:
        return None
    adapters = any(METHODS[name].family != "weights" for name in sweep.methods)
    rule = batch_rule(sweep.rows or sweep.samples, sweep.samples, sweep.objective, adapters).belief
    return _seen(sweep, "", located, rule.mean, rule.deviation)


def locate(trials: Sequence[PastTrial], mode: str, value_of: Callable[[PastTrial], float]) -> Located | None:
    """Return where the best quarter of some trials lies.

    Trials that went further count as better than those that were stopped, diverged ones as the worst. The error is made
    of the scatter of the best quarter, half the spacing of the values tried, and the luck of seeds.

    Returns:
        None where fewer than four trials or a single value tell nothing.
    """
    values = sorted({math.log10(value_of(trial)) for trial in trials})
    if len(trials) < LEAST_TRIALS or len(values) < 2 or all(trial.value is None for trial in trials):
        return None
    ranked = sorted(trials, key=lambda trial: _standing(trial, mode))
    best = [math.log10(value_of(trial)) for trial in ranked[: math.ceil(len(ranked) / BEST_SHARE)]]
    spacing = (values[-1] - values[0]) / (len(values) - 1)
    mean = fmean(best)
    at_edge = best[0] in (values[0], values[-1])
    scatter = math.sqrt(pvariance(best) / len(best))
    error = math.hypot(scatter, spacing / 2, SEED_ERROR, EDGE_ERROR if at_edge else 0.0)
    return Located(mean, error, len(trials), at_edge)


def situation_of(sweep: PastSweep, method: str) -> Situation:
    """Return the situation in which a sweep observed a method (empty: all of them)."""
    return Situation(
        model=sweep.model.identity,
        family=sweep.model.family,
        parameters=sweep.model.parameters,
        data=sweep.data,
        method=method,
        method_family=METHODS[method].family if method else "",
        samples=sweep.samples,
        objective=sweep.objective,
    )


def _standing(trial: PastTrial, mode: str) -> tuple[int, int, float]:
    if trial.value is None or not math.isfinite(trial.value):
        return (2, 0, 0.0)
    score = -trial.value if mode == "max" else trial.value
    return (0, 0, score) if trial.completed else (1, -trial.samples_seen, score)


def _seen(sweep: PastSweep, method: str, located: Located, rule: float, deviation: float) -> Seen:
    observation = Observation(situation_of(sweep, method), located.mean - rule, located.error, deviation)
    return Seen(sweep.name, sweep.place, method, 10**located.mean, located.trials, located.at_edge, observation)
