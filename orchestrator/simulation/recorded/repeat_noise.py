"""Repeat noise of a recorded sweep: how far the final objective moves when nothing but the seed changes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from orchestrator.decisions.objective import Objective, is_judgeable
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial

Source = Literal["measured", "estimated", "unknown"]

_NOT_CONFIGURATION = ("seed", "name")


@dataclass(frozen=True)
class Noise:
    """A sweep's yardsticks, in the objective's own units.

    Attributes:
        deviation: Repeat noise (standard deviation); None when unknown.
        spread: Interquartile range of the final objective over all trials that have one.
        source: ``measured`` from repeats in this sweep, ``estimated`` from other sweeps' ratio of noise to spread,
            ``unknown``.
    """

    deviation: float | None
    spread: float
    source: Source


def finals(sweep: RecordedSweep, objective: Objective) -> dict[str, float]:
    """Return trial id -> final objective, turned so that less is better, of all trials that have a finite one.

    A trial that breaks a constraint has none: what it is worth cannot be said in units of the objective.
    """
    keys = {trial.trial: objective.key(trial.final) for trial in sweep.trials if trial.final}
    return {trial_id: key[1] for trial_id, key in keys.items() if is_judgeable(key) and key[0] == 0}


def repeat_noise(sweep: RecordedSweep, objective: Objective) -> float | None:
    """Return the pooled standard deviation of the final objective over trials equal but for the seed.

    Only groups whose mean lies in the better half of the sweep count: bad and nearly diverged configurations
    spread far wider, and would make every regret among the good ones look small. None when no such group has two
    trials, or all repeats are equal to the last digit (a score too coarse to tell).
    """
    values = finals(sweep, objective)
    groups = [group for group in _repeats(sweep, values) if len(group) > 1]
    if not groups:
        return None
    middle = median(values.values())
    better = [group for group in groups if float(np.mean(group)) <= middle]
    freedom = sum(len(group) - 1 for group in better)
    if not freedom:
        return None
    squares = sum((len(group) - 1) * float(np.var(group, ddof=1)) for group in better)
    return math.sqrt(squares / freedom) or None


def noise_of(sweeps: Sequence[RecordedSweep], objective: Objective) -> dict[str, Noise]:
    """Return each sweep's noise by name; sweeps without repeats take the pooled ratio to the spread of those with some."""
    measured = {sweep.name: repeat_noise(sweep, objective) for sweep in sweeps}
    spreads = {sweep.name: interquartile_range(list(finals(sweep, objective).values())) for sweep in sweeps}
    ratios = [value / spreads[name] for name, value in measured.items() if value is not None and spreads[name] > 0]
    ratio = math.sqrt(float(np.mean(np.square(ratios)))) if ratios else None
    return {sweep.name: _noise(measured[sweep.name], spreads[sweep.name], ratio) for sweep in sweeps}


def interquartile_range(values: Sequence[float]) -> float:
    """Return the distance between the quartiles, 0 for less than two values."""
    return float(np.subtract(*np.percentile(values, [75, 25]))) if len(values) > 1 else 0.0


def _noise(measured: float | None, spread: float, ratio: float | None) -> Noise:
    if measured is not None:
        return Noise(measured, spread, "measured")
    if ratio is not None and spread > 0:
        return Noise(ratio * spread, spread, "estimated")
    return Noise(None, spread, "unknown")


def _repeats(sweep: RecordedSweep, values: Mapping[str, float]) -> list[list[float]]:
    groups: dict[str, list[float]] = {}
    for trial in sweep.trials:
        if trial.trial in values:
            groups.setdefault(_configuration(trial), []).append(values[trial.trial])
    return list(groups.values())


def _configuration(trial: RecordedTrial) -> str:
    rest = {name: value for name, value in trial.config.items() if name not in _NOT_CONFIGURATION}
    return json.dumps([trial.cohort, rest], sort_keys=True, default=str)
