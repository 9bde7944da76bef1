"""Recorded sweeps: every trial trained to its end, with all training signals and evaluations, as data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from orchestrator.decisions.trials import UNKNOWN_EPOCHS, TrialFacts
from orchestrator.records import TrainingSignal

SIGNAL_COLUMNS = ("samples_seen", "loss", "grad_norm", "learning_rate", "noise_corrected_grad_norm")

Status = Literal["completed", "diverged"]


@dataclass(frozen=True, eq=False)
class RecordedTrial:
    """One trial of a recorded sweep, trained to its end (or until it diverged).

    Args:
        trial: Its id within the sweep.
        config: At least ``method``, ``effective_batch_size``, ``learning_rate``, ``seed``; ``epochs``, if there, is how
            often the whole trial sees each training row.
        cohort: Trials of different cohorts are never compared.
        signals: Float array of shape [optimizer steps, 5], columns `SIGNAL_COLUMNS`; NaN where a value is missing.
        evals: (samples seen, metric -> value), rising in samples seen.
        final: Metric -> value at the end; empty when the trial diverged before it.
        samples: Training budget in samples.
        seconds: Training time of the whole trial.
        status: ``completed`` or ``diverged``.
    """

    trial: str
    config: Mapping[str, Any]
    cohort: str
    signals: np.ndarray
    evals: tuple[tuple[int, Mapping[str, float]], ...]
    final: Mapping[str, float]
    samples: int
    seconds: float
    status: Status = "completed"

    @cached_property
    def facts(self) -> TrialFacts:
        """What the stopping engine is told of the trial."""
        config = self.config
        return TrialFacts(
            trial_id=self.trial,
            cohort=self.cohort,
            method=str(config["method"]),
            learning_rate=float(config["learning_rate"]),
            effective_batch_size=int(config["effective_batch_size"]),
            seed=int(config.get("seed", 0)),
            name=str(config.get("name", self.trial)),
        )

    @cached_property
    def samples_trained(self) -> int:
        """Samples that were really trained: the budget, or less when it diverged."""
        last_step = int(self.signals[-1, 0]) if len(self.signals) else 0
        return max(self.samples, last_step) if self.status == "completed" else last_step

    def samples_at(self, level: int) -> int:
        """Return the samples seen when the trial first stands at or beyond ``level`` (a whole optimizer step)."""
        steps = self.signals[:, 0]
        index = int(np.searchsorted(steps, level))
        return int(steps[index]) if index < len(steps) else self.samples_trained

    def scores_at(self, samples_seen: int) -> Mapping[str, float]:
        """Return the first evaluation at or after ``samples_seen``; empty when none follows."""
        index = bisect_left(self.evals, samples_seen, key=lambda entry: entry[0])
        return self.evals[index][1] if index < len(self.evals) else {}

    def signals_between(self, after: int, upto: int) -> list[TrainingSignal]:
        """Return the training signals of optimizer steps with ``after`` < samples seen <= ``upto``."""
        first, last = np.searchsorted(self.signals[:, 0], [after, upto], side="right")
        return [self._signal(index) for index in range(int(first), int(last))]

    def _signal(self, index: int) -> TrainingSignal:
        samples, loss, grad_norm, learning_rate, corrected = map(float, self.signals[index])
        share = samples / max(1, self.samples)
        return TrainingSignal(
            step=index + 1,
            samples_seen=int(samples),
            tokens_seen=0,
            loss=loss,
            total_loss=loss,
            grad_norm=grad_norm,
            learning_rate=learning_rate,
            tokens_per_second=0.0,
            elapsed_seconds=share * self.seconds,
            noise_corrected_grad_norm=None if np.isnan(corrected) else corrected,
        )


@dataclass(frozen=True)
class RecordedSweep:
    """All trials of one sweep, at least two, of one budget each.

    Raises:
        ValueError: If trial ids repeat, or there are fewer than two trials.
    """

    name: str
    trials: tuple[RecordedTrial, ...]

    def __post_init__(self) -> None:
        ids = [trial.trial for trial in self.trials]
        if len(ids) < 2:
            raise ValueError(f"recorded sweep {self.name} needs at least two trials, has {len(ids)}")
        if len(set(ids)) < len(ids):
            repeated = next(name for name in ids if ids.count(name) > 1)
            raise ValueError(f"recorded sweep {self.name} has trial {repeated} twice")

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Milestones in samples seen: those of the trials that were evaluated most often, ending at the budget.

        Trials pass a milestone by up to one effective batch, each by its own; the one that passed it least says
        where it is. Were it any later, another trial's evaluation there would count as its next one.
        """
        done = [trial for trial in self.trials if trial.status == "completed"] or list(self.trials)
        evaluated = [[samples for samples, _ in trial.evals if samples > 0] for trial in done]
        most = max(map(len, evaluated))
        nearest = map(min, zip(*(places for places in evaluated if len(places) == most), strict=True))
        budget = max(trial.samples for trial in self.trials)
        return (*(samples for samples in nearest if samples < budget), budget)

    @cached_property
    def epochs(self) -> float:
        """How often a whole trial sees each training row."""
        told = [float(trial.config["epochs"]) for trial in self.trials if "epochs" in trial.config]
        return max(told, default=UNKNOWN_EPOCHS)

    def trial(self, trial_id: str) -> RecordedTrial:
        """Return a trial by its id; raises KeyError."""
        return self._by_id[trial_id]

    @cached_property
    def _by_id(self) -> dict[str, RecordedTrial]:
        return {trial.trial: trial for trial in self.trials}
