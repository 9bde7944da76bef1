"""Whether recorded sweeps can be judged by an objective; said once, before anything is simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.decisions.objective import Objective
from orchestrator.errors import DataError, nearest
from orchestrator.simulation.engine.trial_course import courses_of
from orchestrator.simulation.recorded.repeat_noise import finals
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial

MIN_TRIALS = 4


def check_sweeps(sweeps: Sequence[RecordedSweep], objective: Objective) -> None:
    """Check that every sweep can be replayed.

    Raises:
        DataError: If there is no sweep, two have one name, a sweep has too few trials, a completed trial lacks a
            metric of the objective at a milestone or in its final scores, or none has a finite final result.
    """
    if not sweeps:
        raise DataError("recorded sweeps", rule="none was given", mend="name at least one recorded file")
    names = [sweep.name for sweep in sweeps]
    for sweep in sweeps:
        where = f"recorded sweep {sweep.name}"
        if names.count(sweep.name) > 1:
            raise DataError(where, "sweep", sweep.name, "two sweeps have this name", "give each a name of its own")
        if len(sweep.trials) < MIN_TRIALS:
            raise DataError(
                where,
                "trials",
                len(sweep.trials),
                f"a replay needs at least {MIN_TRIALS} trials",
                "record more trials, or leave this sweep out",
            )
        for trial in sweep.trials:
            _check_trial(where, sweep, trial, objective)
        if not finals(sweep, objective):
            raise DataError(
                where,
                "final",
                None,
                f"no trial has a finite final {objective.label} that keeps all constraints",
                "leave this sweep out, or choose another objective",
            )


def _check_trial(where: str, sweep: RecordedSweep, trial: RecordedTrial, objective: Objective) -> None:
    place = f"{where}, trial {trial.trial}"
    bounds = [constraint.metric for constraint in objective.constraints]
    if trial.status == "completed":
        _require(place, "final", [*objective.weights, *bounds], trial.final)
    for station in courses_of(sweep).stations[trial.trial]:
        if not station.diverged and not station.completed:
            _require(place, f"evals at {station.samples_seen} samples", objective.weights, station.scores)


def _require(place: str, field: str, metrics: Iterable[str], scores: Mapping[str, float]) -> None:
    for metric in metrics:
        if metric in scores:
            continue
        known = ", ".join(sorted(scores)) or "none"
        raise DataError(
            place,
            field,
            metric,
            f"this metric was not recorded here; recorded metrics: {known}",
            nearest(metric, scores) or "choose a metric that every milestone has",
        )
