"""Which checkpoint and which learning rate speak for a configuration: the last, the best on the test, or by validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orchestrator.reporting.findings.analysis.runs import Arm, Run, Runs
from orchestrator.reporting.findings.registration.registration import Target

Score = Callable[[Run, Target], float]


def final(run: Run, target: Target) -> float:
    """Return the score at the end of training."""
    curve = run.curve(target)
    return curve[-1][1] if curve else math.nan


def peak(run: Run, target: Target) -> float:
    """Return the best score of all checkpoints, chosen on the test itself, as in the paper."""
    return max((score for _, score in run.curve(target)), default=math.nan)


def chosen(run: Run, target: Target) -> float:
    """Return the test score of the checkpoint that is best on the validation rows."""
    return at(run, target, chosen_samples(run, target))


def chosen_samples(run: Run, target: Target) -> float:
    """Return the samples seen by the checkpoint that is best on the validation rows, the earliest of equal ones."""
    curve = run.validation(target)
    return max(curve, key=lambda point: (point[1], -point[0]))[0] if curve else math.nan


def at(run: Run, target: Target, samples: float) -> float:
    """Return the score at a milestone; NaN where there is none at these samples."""
    return next((score for seen, score in run.curve(target) if seen == samples), math.nan)


def near(run: Run, target: Target, samples: float) -> float:
    """Return the score at the milestone that is nearest to so many samples."""
    curve = run.curve(target)
    return min(curve, key=lambda point: abs(point[0] - samples))[1] if curve else math.nan


def at_seconds(run: Run, target: Target, seconds: float) -> float:
    """Return the score after so many training seconds, linear between milestones, NaN before the first one."""
    scored = dict(run.curve(target))
    places = [(point.seconds, scored[point.samples]) for point in run.points if point.samples in scored]
    if not places or seconds < places[0][0]:
        return math.nan
    return float(np.interp(seconds, [place for place, _ in places], [score for _, score in places]))


def best_rate(runs: Runs, arms: Sequence[Arm], target: Target, seeds: Sequence[int]) -> Arm:
    """Return the arm whose final validation scores over some seeds are best on average.

    Args:
        runs: Where they are found.
        arms: At least one.
        target: By whose validation they are compared.
        seeds: Seeds that count; those of which the score is to be estimated must not be among them.
    """

    def worth(arm: Arm) -> float:
        found = [run for seed in seeds if (run := runs.get(arm, seed)) is not None]
        ends = [curve[-1][1] for run in found if (curve := run.validation(target))]
        return float(np.mean(ends)) if ends else -math.inf

    return max(arms, key=worth)


def by_left_out_seed(
    runs: Runs, arms: Sequence[Arm], target: Target, seeds: Sequence[int], score: Score = final
) -> Mapping[int, float]:
    """Return each seed's score at the rate that is best on the other seeds' validation."""
    values = {}
    for seed in seeds:
        run = runs.get(best_rate(runs, arms, target, [other for other in seeds if other != seed]), seed)
        values[seed] = math.nan if run is None else score(run, target)
    return values


def best_on_test(runs: Runs, arms: Sequence[Arm], target: Target, seed: int) -> float:
    """Return the best score of all rates and checkpoints of a seed, chosen on the test itself."""
    found = [run for arm in arms if (run := runs.get(arm, seed)) is not None]
    return max((peak(run, target) for run in found), default=math.nan)
