"""A sweep's history seen the way the report needs it: what was judged where, which methods, how sure a score is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from orchestrator.decisions.objective import Constraint, Key, Objective
from orchestrator.records import Outcome, Role, TrialConfig
from orchestrator.results.records import MilestoneResult, SweepHistory, SweepResult, TrialHistory, TrialResult
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.sweep import ObjectiveSpec, SweepSpec

PLACES = ("record",)
"""Keys of a journal's content that are no fields of a sweep file."""
STOPPED = frozenset({Outcome.STOPPED, Outcome.DIVERGED})
OPEN = frozenset({Outcome.PENDING, Outcome.RUNNING, Outcome.PAUSED})


@dataclass(frozen=True)
class SweepFacts:
    """A history with what follows from it.

    Args:
        history: The sweep, with training signals.
        now: Unix time at which the report is written.
    """

    history: SweepHistory
    now: float

    @property
    def result(self) -> SweepResult:
        """How the sweep stands."""
        return self.history.result

    @cached_property
    def spec(self) -> SweepSpec:
        """The sweep file, as far as it defines the sweep."""
        content = {key: value for key, value in self.history.content.items() if key not in PLACES}
        return SweepSpec.model_validate(content)

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.spec.search_space

    @cached_property
    def objective(self) -> Objective:
        """What best means."""
        return as_objective(self.spec.objective)

    @property
    def label(self) -> str:
        """The objective as shown to people."""
        return self.objective.label

    @property
    def better(self) -> str:
        """The word for better values of the objective."""
        return "lower" if self.objective.mode == "min" else "higher"

    @property
    def budget(self) -> int:
        """Samples of one whole trial."""
        return self.history.levels[-1]

    @cached_property
    def trials(self) -> tuple[TrialHistory, ...]:
        """Trials that the searcher proposed, best first (audited ones among them); not the repeats of candidates."""
        return tuple(trial for trial in self.history.trials if trial.result.role is not Role.REPEAT)

    @cached_property
    def judged(self) -> tuple[TrialHistory, ...]:
        """Trials with a finite objective, best first."""
        return tuple(trial for trial in self.trials if is_number(trial.result.objective))

    @cached_property
    def completed(self) -> tuple[TrialHistory, ...]:
        """Trials that were trained to their end and have a finite objective, best first."""
        return tuple(trial for trial in self.judged if trial.result.outcome is Outcome.COMPLETED)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order of their best trials; those without a trial last."""
        tried = dict.fromkeys(trial.result.config.method for trial in (*self.judged, *self.trials))
        return tuple(dict.fromkeys((*tried, *self.space.method)))

    @property
    def winner(self) -> TrialResult | None:
        """The winner; None while no trial has completed with an objective that is a number."""
        winner = self.result.winner
        return winner if winner is not None and is_number(winner.objective) else None

    @cached_property
    def best(self) -> TrialHistory | None:
        """The winner; while there is none, the trial that leads among those that were trained furthest."""
        if self.winner is not None:
            return self.history.trial(self.winner.trial_id)
        return self.judged[0] if self.judged else None

    def is_best(self, trial: TrialResult) -> bool:
        """Whether a trial has the recommended recipe, with whatever seed."""
        return self.best is not None and same_recipe(self.best.result.config, trial.config)

    def of_method(self, method: str) -> list[TrialHistory]:
        """Return a method's judged trials, best first."""
        return [trial for trial in self.judged if trial.result.config.method == method]

    def value(self, scores: Mapping[str, float]) -> float | None:
        """Return the objective of scores; None where a metric is missing or it is not a finite number."""
        if any(metric not in scores for metric in self.objective.weights):
            return None
        value = self.objective.value(scores)
        return value if math.isfinite(value) else None

    def loss(self, value: float) -> float:
        """Return an objective's value turned so that less is better."""
        return value if self.objective.mode == "min" else -value

    def key(self, trial: TrialResult) -> Key:
        """Return a sort key of a judged trial (smaller is better), constraints included."""
        return self.objective.key(trial.scores, partial=True)

    def error(self, errors: Mapping[str, float]) -> float | None:
        """Return the objective's standard error from those of its metrics, taken as independent; None if unknown."""
        if any(metric not in errors for metric in self.objective.weights):
            return None
        return math.hypot(*(weight * errors[metric] for metric, weight in self.objective.weights.items()))

    def broken(self, trial: TrialResult) -> list[str]:
        """Return the constraints that a trial's scores break, as texts; those not measured are left out."""
        bounds = [bound for bound in self.objective.constraints if bound.metric in trial.scores]
        return [bound.label for bound in bounds if bound.violation(trial.scores[bound.metric]) > 0]

    def judged_at(self, trial: TrialHistory) -> MilestoneResult | None:
        """Return the last milestone at which a trial's objective was measured."""
        return next((each for each in reversed(trial.milestones) if self.value(each.scores) is not None), None)


def as_objective(spec: ObjectiveSpec) -> Objective:
    """Return an objective of the sweep file as the decisions know it."""
    bounds = tuple(Constraint(bound.metric, bound.at_most, bound.at_least) for bound in spec.constraints)
    return Objective(spec.metric, spec.mode, bounds)


def same_recipe(one: TrialConfig, other: TrialConfig) -> bool:
    """Whether two configurations differ in their seed at most."""
    return replace(one, seed=0) == replace(other, seed=0)


def is_number(value: float | None) -> bool:
    """Whether a value is there and finite."""
    return value is not None and math.isfinite(value)


def standing(trial: TrialResult) -> str:
    """Return in a few words how a trial ended, e.g. ``stopped at 256``."""
    if trial.stopped_at is not None:
        return f"stopped at {trial.stopped_at:,}, audit: {trial.outcome.value}"
    if trial.outcome is Outcome.COMPLETED:
        return "completed"
    if trial.outcome in STOPPED or trial.outcome is Outcome.FAILED:
        return f"{trial.outcome.value} at {trial.samples_seen:,}"
    return trial.outcome.value if not trial.samples_seen else f"{trial.outcome.value}, {trial.samples_seen:,} so far"


def listed(words: Sequence[str], most: int = 6) -> str:
    """Return words as ``a, b and c``; beyond ``most`` the rest is counted."""
    shown = list(words[:most]) + ([f"{len(words) - most} more"] if len(words) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "none"


def counted(number: int, word: str) -> str:
    """Return ``1 trial`` or ``3 trials``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def moment(seconds: float) -> str:
    """Return a Unix time as date and time."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
