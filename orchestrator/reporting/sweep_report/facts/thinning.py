"""Long series made short for drawing, and which trials are drawn when there are too many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.results.records import TrialHistory

BEST_DRAWN, SPREAD_DRAWN = 20, 28
MOST_POINTS = 100


@dataclass(frozen=True)
class Point:
    """One point of a drawn series: the mean of a stretch of steps, and the largest value in it."""

    samples: int
    mean: float
    most: float


def drawn_trials(facts: SweepFacts) -> list[TrialHistory]:
    """Return the trials whose curves are drawn: all, or the best and a spread over the ranks of the others."""
    trials = [trial for trial in facts.trials if trial.milestones]
    if len(trials) <= BEST_DRAWN + SPREAD_DRAWN:
        return trials
    rest = trials[BEST_DRAWN:]
    places = [round(index * (len(rest) - 1) / (SPREAD_DRAWN - 1)) for index in range(SPREAD_DRAWN)]
    chosen = trials[:BEST_DRAWN] + [rest[place] for place in places]
    first_of = {trial.result.config.method: trial for trial in reversed(trials)}
    blown = [trial for trial in trials if trial.result.outcome is Outcome.DIVERGED][:3]
    return list({trial.result.trial_id: trial for trial in (*chosen, *first_of.values(), *blown)}.values())


def thin(points: Iterable[tuple[int, float]], most: int = MOST_POINTS, log: bool = True) -> list[Point]:
    """Return at most ``most`` points: means over stretches of equal length on the drawn axis.

    Args:
        points: (samples seen, value), rising; values that are not finite are left out.
        most: Largest number of points.
        log: Whether the axis is logarithmic, so that stretches grow with the samples.
    """
    kept = [(samples, value) for samples, value in points if math.isfinite(value)]
    if len(kept) <= most:
        return [Point(samples, value, value) for samples, value in kept]
    place = (lambda samples: math.log(max(samples, 1))) if log else float
    low, high = place(kept[0][0]), place(kept[-1][0])
    stretches: dict[int, list[tuple[int, float]]] = {}
    for samples, value in kept:
        stretches.setdefault(min(most - 1, int(most * (place(samples) - low) / (high - low))), []).append(
            (samples, value)
        )
    return [_mean(stretch) for stretch in stretches.values()]


def _mean(stretch: Sequence[tuple[int, float]]) -> Point:
    values = [value for _, value in stretch]
    return Point(stretch[-1][0], sum(values) / len(values), max(values))
