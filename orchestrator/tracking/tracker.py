"""The `Tracker` protocol: what a sweep tells its memory, and what it may rely on.

Failure policy. Tracking never stops training. No call raises because a server is away, a disk is full
or a value is odd; every call returns within milliseconds (it appends to a file). What could not be
delivered yet, or had to be given up, is visible in `Tracker.health`. Only a wrong use of the protocol
raises (ValueError), for example ending a trial with an outcome that is not final.

Idempotency. After a crash of the driver the same calls may be made again for the same sweep id: a
call whose content is known already (same trial, same samples seen, same metric) changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.records import Decision, Outcome, Role, Scalar, TrainingSignal, TrialConfig
from orchestrator.spec.trial.identity import trial_name
from orchestrator.tracking.naming import config_params

ACTION_TAG = "orchestrate.action"
"""Tag by which users control a trial from the MLflow UI; holds what they ask, then what became of it."""

ANSWERS = ("done", "refused")
"""How the tag's text begins once an action has been taken up."""


class SweepOutcome(enum.StrEnum):
    """How a sweep ended."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """One data set that a trial trains or is scored on. ``digest`` is cut to 36 characters (MLflow's limit)."""

    name: str
    digest: str
    source: str
    rows: int = 0
    context: str = "training"


@dataclass(frozen=True, slots=True)
class SweepInfo:
    """What is known about a sweep when it starts.

    Args:
        sweep_id: Stable id; the same id after a crash means the same MLflow runs.
        name: Name of the sweep, also the default experiment name.
        params: Resolved settings of the sweep worth a column (model, data, objective, trials, ...).
        tags: Seeds, git commit, versions, storage, ... (see `provenance.provenance_tags`).
        config_yaml: The resolved sweep file; becomes the artifact ``sweep.yaml``.
        datasets: Data sets of the sweep.
        experiment: Experiment name; empty means ``name``.
        objective: Metric that defines "best"; the UI's table is sorted by it.
        mode: ``max`` or ``min``.
    """

    sweep_id: str
    name: str
    params: Mapping[str, Scalar] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    config_yaml: str = ""
    datasets: Sequence[DatasetInfo] = ()
    experiment: str = ""
    objective: str = ""
    mode: str = "max"

    @property
    def experiment_name(self) -> str:
        """Name of the experiment that holds the sweep's runs."""
        return self.experiment or self.name


@dataclass(frozen=True, slots=True)
class TrialInfo:
    """What is known about a trial when it starts.

    ``total_samples`` and ``effective_batch_size`` tell how long the training signals will be, so that a
    long series can be thinned from its first point on. ``role`` becomes a tag. ``begun_again`` counts how often the trial
    was trained on after it had ended as stopped (by an audit, or because a user asked): each time opens its run again.
    """

    trial_id: str
    name: str
    params: Mapping[str, Scalar]
    total_samples: int
    effective_batch_size: int
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[DatasetInfo] = ()
    role: Role = Role.SEARCH
    begun_again: int = 0

    @classmethod
    def of(
        cls,
        trial_id: str,
        config: TrialConfig,
        tags: Mapping[str, str] | None = None,
        datasets: Sequence[DatasetInfo] = (),
    ) -> TrialInfo:
        """Describe a trial by its configuration: name, resolved hyperparameters, length."""
        return cls(
            trial_id=trial_id,
            name=trial_name(config),
            params=config_params(config),
            total_samples=config.samples,
            effective_batch_size=config.effective_batch_size,
            tags={"method": config.method, "seed": str(config.seed), **(tags or {})},
            datasets=tuple(datasets),
        )


@dataclass(frozen=True, slots=True)
class TrackerHealth:
    """How tracking stands, for the live table.

    ``pending_bytes`` wait on disk for delivery; ``unsaved_events`` wait in memory because the outbox
    cannot be written; ``lost_events`` and ``rejected_events`` were given up.
    """

    pending_bytes: int = 0
    unsaved_events: int = 0
    lost_events: int = 0
    rejected_events: int = 0
    last_error: str = ""
    delivering: bool = True
    undrawn_metrics: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong that is not mended yet."""
        return not self.warning()

    def warning(self) -> str:
        """One line for a person; empty when all is well."""
        parts = []
        if self.last_error:
            parts.append(f"tracking is behind by {self.pending_bytes / 1024:.0f} KiB: {self.last_error}")
        if not self.delivering:
            parts.append("delivery has ended")
        if self.unsaved_events:
            parts.append(f"{self.unsaved_events} events cannot be written to the outbox")
        if self.lost_events or self.rejected_events:
            parts.append(f"{self.lost_events} events lost, {self.rejected_events} refused by the store")
        if self.undrawn_metrics:
            parts.append(f"over the limit of metrics per trial: {', '.join(self.undrawn_metrics)}")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class AskedAction:
    """What a user wrote into the tag `ACTION_TAG` of a trial's run (empty id: of the sweep's)."""

    trial_id: str
    text: str


class Tracker(Protocol):
    """What a sweep tells. Failure policy and idempotency: see the module's text."""

    def start_sweep(self, info: SweepInfo) -> None:
        """Open (or find again) the sweep's run. Must come first."""

    def start_trial(self, info: TrialInfo) -> None:
        """Open (or find again) the trial's run; nothing happens where it has ended and was not begun again since."""

    def log_signals(self, trial_id: str, signals: Sequence[TrainingSignal]) -> None:
        """Log the training signals since the previous milestone; samples logged before are dropped."""

    def log_scores(self, trial_id: str, samples_seen: int, scores: Mapping[str, float]) -> None:
        """Log evaluation scores at a samples-seen level."""

    def log_system(self, trial_id: str, samples_seen: int, node: str, values: Mapping[str, float]) -> None:
        """Log system metrics (``system/`` is put before each name) and the node that measured them."""

    def log_decision(self, decision: Decision) -> None:
        """Log a decision; it shows as the trial's ``verdict`` and in the sweep's ``decisions.jsonl``."""

    def end_trial(
        self,
        trial_id: str,
        outcome: Outcome,
        samples_seen: int,
        *,
        decision: Decision | None = None,
        scores: Mapping[str, float] | None = None,
        failure: str = "",
    ) -> None:
        """Close a trial's run.

        Raises:
            ValueError: If ``outcome`` is not final, or STOPPED or DIVERGED come without a decision, or
                FAILED without a failure text.
        """

    def log_sweep_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log values of the whole sweep (best so far, counts, savings) at ``step`` samples trained."""

    def set_sweep_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the sweep's run."""

    def describe_sweep(self, markdown: str, headline: str = "") -> None:
        """Set the sweep's description; the headline becomes part of its name and heads the experiment's page."""

    def mark_winner(self, trial_id: str, reason: str) -> None:
        """Mark the winning trial: a star in its name, its ``verdict``, tags on it and on the sweep; another loses them."""

    def log_text_artifact(self, path: str, text: str) -> None:
        """Store a text as an artifact of the sweep."""

    def log_artifact(self, file: Path, folder: str = "") -> None:
        """Store a copy of a file as an artifact of the sweep."""

    def end_sweep(self, outcome: SweepOutcome) -> None:
        """Close the sweep's run and every run of a trial that is still open (outcome: interrupted)."""

    def asked_actions(self) -> Sequence[AskedAction]:
        """Return what users have asked by the tag `ACTION_TAG` since the last call; looks at nothing that could wait.

        Each is returned once, until it has been answered; one that nobody answered comes again in the next session.
        """

    def answer_action(self, trial_id: str, text: str) -> None:
        """Replace the tag by what became of the action.

        Args:
            trial_id: As `AskedAction` told it.
            text: Begins with one of `ANSWERS`.
        """

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is delivered; False when time ran out."""

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Deliver what can be delivered in time, then stop. What is left is delivered at the next start."""

    @property
    def run_ids(self) -> Mapping[str, str]:
        """MLflow run ids known so far: by trial id; the sweep's own under the empty string."""

    @property
    def experiment_id(self) -> str:
        """MLflow experiment id, empty while unknown."""

    @property
    def health(self) -> TrackerHealth:
        """How tracking stands."""
