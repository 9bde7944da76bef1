"""``compare``: two or more sweeps side by side, and whether their scores may be compared at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.api.compare.data import FieldDifference, field_differences, score_warnings
from orchestrator.decisions.objective import Objective
from orchestrator.errors import InputError, nearest
from orchestrator.history.find_trial import Sweep, sweep_folder
from orchestrator.history.journal_state import JournalState, read_state
from orchestrator.history.objective import make_objective, objective_error
from orchestrator.history.read_sweep import result_of
from orchestrator.records import Outcome, Role
from orchestrator.results.records import SweepResult, TrialResult
from orchestrator.storage.sweep_folder import SweepFolder

Mode = Literal["min", "max"]
NOISE_STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Scored:
    """One trial by the metric of the comparison."""

    name: str
    trial_id: str
    value: float
    standard_error: float | None
    learning_rate: float
    effective_batch_size: int


@dataclass(frozen=True)
class ComparedSweep:
    """One column: what a sweep found and what it cost.

    Args:
        label: Its name; its folder where two have the same name.
        status: ``running``, ``interrupted`` or ``completed``.
        winner: Its winner, or by another metric its best trial that completed.
        difference: Winner's value minus that of the first sweep's; None where there is none, or the values may not
            be compared.
        difference_error: Standard error of the difference, as if both were measured independently.
        standing: ``better``, ``worse`` or ``within noise`` (two standard errors) against the first sweep's winner.
        base: Value of the untouched base model.
        saved_share: Share of the exhaustive sweep's samples that were not trained.
        best_by_method: The best completed trial of each method.
    """

    label: str
    status: str
    winner: Scored | None
    runner_up: Scored | None
    difference: float | None
    difference_error: float | None
    standing: str
    base: float | None
    counts: Mapping[str, int]
    samples_trained: int
    samples_exhaustive: int
    saved_share: float
    training_seconds: float
    wall_seconds: float
    utilisation: float
    best_by_method: Mapping[str, Scored]


@dataclass(frozen=True)
class Comparison:
    """Sweeps side by side; ``warnings`` say why their scores must not be compared as they stand."""

    metric: str
    mode: str
    sweeps: tuple[ComparedSweep, ...]
    differences: tuple[FieldDifference, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def compare_sweeps(
    sweeps: Sequence[Sweep], metric: str | None = None, mode: Mode = "min", storage: Path | str | None = None
) -> Comparison:
    """Put sweeps side by side; they may run still.

    Args:
        sweeps: Names, folders, or what `find_sweep` returned; differences are taken to the first.
        metric: Compare by this metric instead of the objective that the sweeps share.
        mode: Whether low or high is best, for ``metric``.
        storage: Where names are looked up.

    Raises:
        InputError: If there are fewer than two sweeps, they have different objectives and no metric was named, or
            one does not have the metric.
        StorageError: If a journal is damaged.
    """
    folders = [sweep_folder(each, storage) for each in sweeps]
    if len({folder.root.resolve() for folder in folders}) < 2:
        raise InputError(
            "SWEEP",
            value=", ".join(folder.name for folder in folders),
            rule="a comparison needs at least two different sweeps",
            mend="name another",
        )
    states = [read_state(folder) for folder in folders]
    objective = _shared_objective(states) if metric is None else _named_metric(states, metric, mode)
    warnings = score_warnings(states, objective.weights)
    columns = [_Column(state, result_of(state), objective, metric is None) for state in states]
    first = None if warnings else columns[0].winner
    labels = _labels(folders)
    columns_shown = [
        column.compared(label, first if index else None)
        for index, (label, column) in enumerate(zip(labels, columns, strict=True))
    ]
    return Comparison(objective.label, objective.mode, tuple(columns_shown), field_differences(states), warnings)


@dataclass(frozen=True)
class _Column:
    """A sweep and the measure that all are held to; ``own`` says whether that is its own objective."""

    state: JournalState
    result: SweepResult
    objective: Objective
    own: bool

    @property
    def winner(self) -> Scored | None:
        return self._place(0, self.result.winner)

    def compared(self, label: str, first: Scored | None) -> ComparedSweep:
        result, winner = self.result, self.winner
        difference, error = _difference(winner, first)
        exhaustive = result.samples_exhaustive
        return ComparedSweep(
            label=label,
            status=result.status,
            winner=winner,
            runner_up=self._place(1, result.runner_up),
            difference=difference,
            difference_error=error,
            standing=_standing(difference, error, self.objective.mode),
            base=self._value(result.base_scores),
            counts=result.counts,
            samples_trained=result.samples_trained,
            samples_exhaustive=exhaustive,
            saved_share=1 - result.samples_trained / exhaustive if exhaustive else 0.0,
            training_seconds=result.training_seconds,
            wall_seconds=result.wall_seconds,
            utilisation=result.utilisation,
            best_by_method=self._best_by_method(),
        )

    def _place(self, place: int, chosen: TrialResult | None) -> Scored | None:
        """Return winner or runner-up: the sweep's own by its own objective, else by rank."""
        if self.own:
            return None if chosen is None else self._scored(chosen)
        ranked = self._ranked()
        return ranked[place] if place < len(ranked) else None

    def _ranked(self) -> list[Scored]:
        ended = [t for t in self.result.trials if t.outcome is Outcome.COMPLETED and t.role is not Role.REPEAT]
        scored = [scored for trial in ended if (scored := self._scored(trial)) is not None]
        sign = -1.0 if self.objective.mode == "max" else 1.0
        return sorted(scored, key=lambda each: (math.isnan(each.value), sign * each.value, each.trial_id))

    def _best_by_method(self) -> dict[str, Scored]:
        methods = {trial.trial_id: trial.config.method for trial in self.result.trials}
        best: dict[str, Scored] = {}
        for scored in self._ranked():
            best.setdefault(methods[scored.trial_id], scored)
        return best

    def _scored(self, trial: TrialResult) -> Scored | None:
        value = self._value(trial.scores)
        if value is None:
            return None
        error = objective_error(self.objective, trial.standard_errors)
        config = trial.config
        return Scored(trial.name, trial.trial_id, value, error, config.learning_rate, config.effective_batch_size)

    def _value(self, scores: Mapping[str, float]) -> float | None:
        if any(name not in scores for name in self.objective.weights):
            return None
        return self.objective.value(scores)


def _labels(folders: Sequence[SweepFolder]) -> list[str]:
    names = [folder.name for folder in folders]
    return [folder.name if names.count(folder.name) == 1 else str(folder.root) for folder in folders]


def _shared_objective(states: Sequence[JournalState]) -> Objective:
    objectives = [make_objective(state.spec) for state in states]
    told = [(objective.label, objective.mode) for objective in objectives]
    if len(set(told)) > 1:
        shown = "; ".join(
            f"{state.folder.name} has {label} ({mode})" for state, (label, mode) in zip(states, told, strict=True)
        )
        raise InputError(
            "compare",
            rule=f"these sweeps have different objectives: {shown}",
            mend="compare them by a metric that all have, with --metric and --mode",
        )
    return objectives[0]


def _named_metric(states: Sequence[JournalState], metric: str, mode: Mode) -> Objective:
    for state in states:
        known = state.spec.metrics
        if metric not in known:
            raise InputError(
                "--metric",
                value=metric,
                rule=f"{state.folder.name} has no such metric",
                mend=nearest(metric, known) or f"it has {', '.join(known)}",
            )
    return Objective(metric, mode)


def _difference(winner: Scored | None, first: Scored | None) -> tuple[float | None, float | None]:
    if winner is None or first is None:
        return None, None
    errors = (winner.standard_error, first.standard_error)
    error = None if None in errors else math.hypot(*(each for each in errors if each is not None))
    return winner.value - first.value, error


def _standing(difference: float | None, error: float | None, mode: str) -> str:
    if difference is None or error is None:
        return ""
    if abs(difference) <= NOISE_STANDARD_ERRORS * error:
        return "within noise"
    return "better" if (difference < 0) == (mode == "min") else "worse"
