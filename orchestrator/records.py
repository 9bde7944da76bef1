"""Frozen records that cross process borders. Standard library only, so every room may import them.

Legend: samples are counted in training examples, tokens in non-padding tokens, losses in nats per
token, durations in seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """One configuration: everything that decides how one trial trains, and nothing else.

    ``warmup_amount`` is read in ``warmup_unit`` (optimizer steps, samples, or share of all steps).
    ``clip_norm`` None means gradients are not clipped. ``schedule_options`` and ``method_options``
    hold JSON values only. ``samples`` is the training budget in samples (epochs already resolved).
    """

    method: str
    effective_batch_size: int
    learning_rate: float
    samples: int
    method_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = "constant"
    schedule_options: Mapping[str, float] = field(default_factory=dict)
    warmup_unit: str = "steps"
    warmup_amount: float = 0.0
    optimizer: str = "adamw"
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    data_strategy: str = "stacked"
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return a plain JSON-able dictionary, inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Rebuild a config from `as_dict`; raises TypeError on unknown keys."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class TrainingSignal:
    """What one optimizer step says.

    ``loss`` is plain cross-entropy, the token mean over the whole effective batch; ``total_loss`` adds
    the method's auxiliary terms. ``grad_norm`` is the global L2 norm before clipping.
    ``noise_scale`` (in samples) and ``noise_corrected_grad_norm`` follow McCandlish et al. 2018,
    appendix A; None where one micro-batch alone cannot tell.
    """

    step: int
    samples_seen: int
    tokens_seen: int
    loss: float
    total_loss: float
    grad_norm: float
    learning_rate: float
    tokens_per_second: float
    elapsed_seconds: float
    noise_scale: float | None = None
    noise_corrected_grad_norm: float | None = None


class Role(enum.StrEnum):
    """What a trial is trained for."""

    SEARCH = "search"
    AUDIT = "audit"
    REPEAT = "repeat"
    RESUMED = "resumed"
    CLONE = "clone"
    EXTENDED = "extended"

    @property
    def proposed(self) -> bool:
        """Whether the searcher proposed the trial; it may have been stopped and trained on since."""
        return self in {Role.SEARCH, Role.AUDIT, Role.RESUMED}

    @property
    def asked(self) -> bool:
        """Whether a user asked for this trial by name: it starts as soon as a slot is free."""
        return self in {Role.RESUMED, Role.CLONE, Role.EXTENDED}


@dataclass(frozen=True, slots=True)
class Origin:
    """The trial that another one was made from.

    ``takes`` is ``configuration`` (trained from the base model), ``weights`` (from the parent's weights; samples count
    from 0) or ``training`` (trained on from the parent's checkpoint; the first ``samples_seen`` samples are the parent's).
    """

    trial_id: str
    name: str
    samples_seen: int
    takes: str = "configuration"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Origin | None:
        """Rebuild an origin from its dictionary form."""
        return None if values is None else cls(**values)


class TrialState(enum.StrEnum):
    """Where a trial stands at a milestone."""

    RUNNING = "running"
    COMPLETED = "completed"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Milestone:
    """What a trial reports when it reaches a samples-seen level (or its end).

    ``index`` counts milestones from 0; ``samples_seen`` may exceed ``level`` by less than one effective
    batch. ``signals`` are those since the previous milestone. ``checkpoint`` is a folder relative to
    the sweep's storage.
    """

    trial_id: str
    index: int
    level: int
    samples_seen: int
    tokens_seen: int
    state: TrialState
    scores: Mapping[str, float]
    signals: tuple[TrainingSignal, ...]
    training_seconds: float
    evaluation_seconds: float
    setup_seconds: float = 0.0
    checkpoint: str | None = None
    system: Mapping[str, float] = field(default_factory=dict)
    node: str = ""
    standard_errors: Mapping[str, float] = field(default_factory=dict)


class Action(enum.StrEnum):
    """What is done with a trial (Ray's words)."""

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict on one trial at one milestone; cannot exist without a reason.

    Raises:
        ValueError: If ``reason`` or ``rule`` is empty.
    """

    trial_id: str
    samples_seen: int
    action: Action
    rule: str
    cohort: str
    reason: str
    evidence: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError(f"a decision on trial {self.trial_id} needs a reason, got {self.reason!r}")
        if not self.rule.strip():
            raise ValueError(f"a decision on trial {self.trial_id} needs the name of its rule, got {self.rule!r}")


class Outcome(enum.StrEnum):
    """How a trial ended, or that it has not."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self in {Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED, Outcome.FAILED}
