"""A recorded trial as a simulated worker meets it: its stations, and the step at which a worker would halt it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload
from weakref import WeakKeyDictionary

import numpy as np

from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.rule import StepRule
from orchestrator.records import Decision, TrainingSignal
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial


@dataclass(frozen=True, slots=True)
class Station:
    """What a trial reports at one level; several levels may be reached at the same number of samples.

    ``scores`` is empty where the trial diverged. ``seconds`` is training time since its start.
    """

    level_index: int
    samples_seen: int
    seconds: float
    scores: Mapping[str, float]
    completed: bool = False
    diverged: bool = False


class LazySignals(Sequence[TrainingSignal]):
    """Training signals of optimizer steps with ``after`` < samples seen <= ``upto``, built when they are looked at."""

    def __init__(self, trial: RecordedTrial, after: int, upto: int) -> None:
        self._trial, self._after, self._upto = trial, after, upto
        self._built: list[TrainingSignal] | None = None

    @property
    def _signals(self) -> list[TrainingSignal]:
        if self._built is None:
            self._built = self._trial.signals_between(self._after, self._upto)
        return self._built

    def __len__(self) -> int:
        return len(self._signals)

    @overload
    def __getitem__(self, index: int) -> TrainingSignal: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainingSignal]: ...

    def __getitem__(self, index: int | slice) -> TrainingSignal | Sequence[TrainingSignal]:
        return self._signals[index]


class Courses:
    """All trials of a sweep, prepared once for any number of simulated runs.

    Args:
        sweep: The recorded sweep.

    Attributes:
        stations: Trial id -> its stations, one per level until its end.
    """

    def __init__(self, sweep: RecordedSweep) -> None:
        self.trials = {trial.trial: trial for trial in sweep.trials}
        self.stations = {trial.trial: stations(trial, sweep.levels) for trial in sweep.trials}
        self._levels = sweep.levels
        self._halts: dict[StepRule, dict[str, Decision | None]] = {}

    def halt(self, trial_id: str, rule: StepRule) -> Decision | None:
        """Return the decision with which a worker that checks ``rule`` halts the trial, None if it never does."""
        known = self._halts.setdefault(rule, {})
        if trial_id not in known:
            known[trial_id] = halt_of(self.trials[trial_id], rule)
        return known[trial_id]

    def halted_stations(self, trial_id: str, halt: Decision) -> tuple[Station, ...]:
        """Return the stations of a trial that a worker halts: those before the halt, then where it diverges."""
        trial, whole = self.trials[trial_id], self.stations[trial_id]
        before = tuple(station for station in whole if station.samples_seen < halt.samples_seen)
        seconds = halt.samples_seen * seconds_per_sample(trial)
        return (*before, Station(len(before), halt.samples_seen, seconds, {}, diverged=True))


def courses_of(sweep: RecordedSweep) -> Courses:
    """Return the prepared trials of a sweep; made at first use, kept as long as the sweep."""
    if sweep not in _PREPARED:
        _PREPARED[sweep] = Courses(sweep)
    return _PREPARED[sweep]


_PREPARED: WeakKeyDictionary[RecordedSweep, Courses] = WeakKeyDictionary()


def seconds_per_sample(trial: RecordedTrial) -> float:
    """Return a recorded trial's own speed, 0 when it trained nothing."""
    return trial.seconds / trial.samples_trained if trial.samples_trained else 0.0


def stations(trial: RecordedTrial, levels: Sequence[int]) -> tuple[Station, ...]:
    """Return where a trial reports, as a production worker would: one report per level until it completes or diverges."""
    pace = seconds_per_sample(trial)
    found: list[Station] = []
    steps = trial.signals[:, 0]
    for index, level in enumerate(levels):
        samples = trial.samples_at(min(level, trial.samples))
        if trial.status == "diverged" and int(np.searchsorted(steps, level)) >= len(steps) - 1:
            # The step that would reach this level is the one that blew up, or lies beyond it.
            return (*found, Station(index, trial.samples_trained, trial.seconds, {}, diverged=True))
        completed = samples >= trial.samples or index == len(levels) - 1
        scores = trial.scores_at(samples)
        if completed:
            scores = {**scores, **trial.final}
        found.append(Station(index, samples, samples * pace, scores, completed=completed))
        if completed:
            break
    return tuple(found)


def halt_of(trial: RecordedTrial, rule: StepRule) -> Decision | None:
    """Return the decision with which a worker halts a trial whose every step it checks, or None."""
    if isinstance(rule, DivergenceRule) and _cannot_halt(trial.signals, rule):
        return None
    watch = rule.watch(trial.trial)
    for signal in trial.signals_between(-1, trial.samples_trained):
        decision = watch(signal)
        if decision is not None:
            return decision
    return None


def _cannot_halt(signals: np.ndarray, rule: DivergenceRule) -> bool:
    """Whether no step can meet the rule, by bounds that cost one pass over the arrays.

    A smoothed loss is never above the highest loss, its start never below the lowest, and a running median
    never below the lowest norm: most trials need no look at their single steps.
    """
    losses, norms = signals[:, 1], signals[:, 2]
    if not (rule.enabled and len(signals)):
        return True
    if not (np.isfinite(losses).all() and np.isfinite(norms).all()):
        return False
    if rule.non_finite_only:
        return True
    early = losses[: int(np.searchsorted(signals[:, 0], rule.start_samples)) + 1]
    start = float(early.min())
    calm_loss = float(losses.max()) <= max(start + rule.loss_margin, start * rule.loss_factor)
    lowest = float(norms.min())
    return calm_loss and lowest > 0 and float(norms.max()) <= rule.grad_norm_factor * lowest
