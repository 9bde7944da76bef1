"""Typed results of a sweep, and the snapshot that a live display reads while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.records import Decision, Outcome, TrainingSignal, TrialConfig


@dataclass(frozen=True)
class TrialResult:
    """How one trial ended. ``reason`` says why it was stopped or failed; empty for completed trials."""

    trial_id: str
    name: str
    config: TrialConfig
    outcome: Outcome
    samples_seen: int
    scores: Mapping[str, float]
    objective: float | None = None
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    rule: str = ""
    reason: str = ""
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    run_id: str | None = None


@dataclass(frozen=True)
class TrackingIds:
    """Where MLflow holds the sweep; empty strings without tracking."""

    uri: str = ""
    experiment: str = ""
    parent_run_id: str = ""
    pending_bytes: int = 0


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found and what it cost.

    ``status`` is ``completed`` or ``interrupted``. Seconds and samples cover all sessions of the sweep
    (``wall_seconds`` of interrupted sessions up to their last journal entry). ``slot_seconds`` is slots
    times the seconds in which trials could run, ``utilisation`` the share of it spent training and
    evaluating (``work``) and training alone (``utilisation``).
    """

    name: str
    sweep_id: str
    status: str
    objective: str
    mode: str
    winner: TrialResult | None
    runner_up: TrialResult | None
    base_scores: Mapping[str, float]
    trials: tuple[TrialResult, ...]
    counts: Mapping[str, int]
    samples_trained: int
    samples_exhaustive: int
    wall_seconds: float
    training_seconds: float
    evaluation_seconds: float
    slot_seconds: float
    slots: int
    storage: str
    tracking: TrackingIds
    ui_command: str = ""
    ui_address: str = ""

    @property
    def utilisation(self) -> float:
        """Share of the slots' time spent training."""
        return self.training_seconds / self.slot_seconds if self.slot_seconds else 0.0

    @property
    def work_share(self) -> float:
        """Share of the slots' time spent training and evaluating."""
        work = self.training_seconds + self.evaluation_seconds
        return work / self.slot_seconds if self.slot_seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, the object that ``--json`` prints."""
        values = asdict(self)
        return {**values, "utilisation": self.utilisation, "work_share": self.work_share}


@dataclass(frozen=True)
class TrialView:
    """One line of the live table; ``expected`` is the objective it is forecast to end at, with its chance to end best."""

    name: str
    outcome: Outcome
    samples_seen: int
    samples: int
    loss: float | None
    grad_norm: float | None
    objective: float | None
    tokens_per_second: float | None = None
    expected: float | None = None
    probability_best: float | None = None


@dataclass(frozen=True)
class SweepView:
    """Snapshot of a running sweep."""

    name: str
    objective: str
    mode: str
    elapsed_seconds: float
    remaining_seconds: float | None
    counts: Mapping[str, int]
    trials_planned: int
    samples_trained: int
    samples_exhaustive: int
    running: tuple[TrialView, ...]
    best: TrialView | None
    last_decision: str
    tracking_state: str = ""
    stopping: bool = False


@dataclass(frozen=True)
class MilestoneResult:
    """What one trial was at one milestone: ``level`` and ``samples_seen`` in samples, seconds since the milestone before."""

    index: int
    level: int
    samples_seen: int
    tokens_seen: int
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]
    training_seconds: float
    evaluation_seconds: float
    checkpoint: str | None


@dataclass(frozen=True)
class TrialHistory:
    """One trial from its first milestone to its last; ``signals`` are empty unless they were asked for."""

    result: TrialResult
    cohort: str
    milestones: tuple[MilestoneResult, ...]
    decisions: tuple[Decision, ...]
    signals: tuple[TrainingSignal, ...] = ()


@dataclass(frozen=True)
class SweepHistory:
    """A finished, running or interrupted sweep as its journal tells it.

    Args:
        result: How it stands; ``status`` is ``completed``, ``interrupted`` or ``running``.
        trials: Every trial that was proposed, best first as in ``result.trials``.
        content: The resolved sweep file, without where it ran and was stored.
        levels: Milestones in samples seen.
        inputs: Digests of training data and base model.
        began: Unix time of the first record.
        ended: Unix time of the last one.
    """

    result: SweepResult
    trials: tuple[TrialHistory, ...]
    content: Mapping[str, Any]
    levels: tuple[int, ...]
    inputs: Mapping[str, str]
    began: float
    ended: float

    def trial(self, trial_id: str) -> TrialHistory:
        """Return a trial by its id.

        Raises:
            KeyError: If there is none.
        """
        found = next((trial for trial in self.trials if trial.result.trial_id == trial_id), None)
        if found is None:
            raise KeyError(trial_id)
        return found
