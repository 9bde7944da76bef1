"""Frozen records that cross process borders. Standard library only, so every room may import them.

Legend: samples are counted in training examples, tokens in non-padding tokens, losses in nats per
token, durations in seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from orchestrator.hyperparameter import KEY, Hyperparameter

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """One configuration: everything that decides how one trial trains, and nothing else.

    ``warmup_amount`` is read in ``warmup_unit`` (optimizer steps, samples, or share of all steps).
    ``clip_norm`` None means gradients are not clipped. ``schedule_options``, ``method_options`` and ``optimizer_options``
    hold JSON values only. ``samples`` is the training budget in samples (epochs already resolved).

    A field that is one number states its rule and its names here, and search space, sweep files, names of trials and
    reports read them from here. New fields follow ``seed``: they are not written where they have their default, so that
    every configuration that was recorded before them keeps its fingerprint.
    """

    method: str
    effective_batch_size: int = field(
        metadata=Hyperparameter("Samples per optimizer step, over all devices.", whole=True, at_least=1).metadata
    )
    learning_rate: float = field(
        metadata=Hyperparameter(
            "Peak learning rate for all methods; auto: each method's own range.", above=0, argument="learning_rate"
        ).metadata
    )
    samples: int
    method_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = "constant"
    schedule_options: Mapping[str, float] = field(default_factory=dict)
    warmup_unit: str = "steps"
    warmup_amount: float = 0.0
    optimizer: str = "adamw"
    beta1: float = field(
        default=0.9,
        metadata=Hyperparameter(
            "Adam's first decay.", at_least=0, below=1, short="b1-", rank=2, argument="adam_beta1"
        ).metadata,
    )
    beta2: float = field(
        default=0.95,
        metadata=Hyperparameter(
            "Adam's second decay (the paper: 0.95).", at_least=0, below=1, short="b2-", rank=2, argument="adam_beta2"
        ).metadata,
    )
    epsilon: float = field(
        default=1e-8,
        metadata=Hyperparameter("Adam's epsilon.", above=0, short="eps", rank=2, argument="adam_epsilon").metadata,
    )
    weight_decay: float = field(
        default=0.0,
        metadata=Hyperparameter("Decoupled weight decay.", at_least=0, short="wd", argument="weight_decay").metadata,
    )
    clip_norm: float | None = field(
        default=1.0,
        metadata=Hyperparameter(
            "Largest gradient norm; null: no clipping.",
            above=0,
            null="no clipping",
            short="clip",
            argument="max_grad_norm",
        ).metadata,
    )
    data_strategy: str = "stacked"
    seed: int = field(
        default=0,
        metadata=Hyperparameter(
            "Seed of data order and initialisation.", whole=True, at_least=0, argument="seed"
        ).metadata,
    )
    optimizer_options: Mapping[str, Scalar] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a plain JSON-able dictionary, inverse of `from_dict`; later fields only where they differ from their default."""
        return asdict(self, dict_factory=as_recorded)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Rebuild a config from `as_dict`; raises TypeError on unknown keys."""
        return cls(**values)


HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    each.name: each.metadata[KEY] for each in fields(TrialConfig) if KEY in each.metadata
}
"""Every field of a configuration that is one number, in the order of the fields."""

_NAMES = [each.name for each in fields(TrialConfig)]
_LATER = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory()
    for each in fields(TrialConfig)[_NAMES.index("seed") + 1 :]
}


def as_recorded(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make the dictionaries of `dataclasses.asdict` (as its ``dict_factory``), with configurations as `TrialConfig.as_dict`."""
    values = dict(pairs)
    if values.keys() != set(_NAMES):
        return values
    return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}


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


_ACTIONS = {each.value: each for each in Action}
"""A look-up takes a tenth of `Action`'s call, and a long journal holds many thousand decisions."""


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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """Rebuild a decision from its dictionary form (`dataclasses.asdict`); raises TypeError on unknown keys."""
        return cls(**{**values, "action": _ACTIONS[values["action"]]})

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
