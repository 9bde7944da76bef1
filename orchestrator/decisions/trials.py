"""What the engine knows of a trial: the facts it is told beforehand, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.records import Decision, Outcome, TrialState

Dynamics = Mapping[str, Any]
"""Features of `EarlyDynamics.as_dict`, and under ``tracker`` the running state that the next milestone needs."""


UNKNOWN_EPOCHS = 1.0
"""Stands for the epochs of a training whose rows are not known."""


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """What the engine must know of a trial before it trains.

    Raises:
        ValueError: If the learning rate is not a finite number above 0.
    """

    trial_id: str
    cohort: str
    method: str
    learning_rate: float
    effective_batch_size: int
    seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"trial {self.trial_id}: the learning rate must be above 0, got {self.learning_rate}")


class ReachedMilestone(Protocol):
    """A milestone that a trial has reached, as `orchestrator.records.Milestone` and `ObservedMilestone` tell it."""

    @property
    def trial_id(self) -> str:
        """The trial."""
        ...

    @property
    def index(self) -> int:
        """Which milestone, from 0."""
        ...

    @property
    def samples_seen(self) -> int:
        """Samples seen; may exceed the milestone's level by less than one effective batch."""
        ...

    @property
    def state(self) -> TrialState:
        """Where the trial stands."""
        ...

    @property
    def scores(self) -> Mapping[str, float]:
        """Metric -> value; may be empty where the trial diverged."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says to a milestone, and the journal keeps.

    ``dynamics`` are the trial's early dynamics up to there, empty where no training signal came.
    """

    decision: Decision
    dynamics: Dynamics = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedMilestone:
    """A milestone with its answer, as a journal tells it: what brings the engine back to where it was."""

    trial_id: str
    index: int
    samples_seen: int
    state: TrialState
    scores: Mapping[str, float]
    answer: Answer


@dataclass(slots=True)
class TrialProgress:
    """Where a trial stands; ``milestone`` is the last one observed, -1 before the first."""

    facts: TrialFacts
    outcome: Outcome = Outcome.PENDING
    milestone: int = -1
    samples_seen: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    dynamics: Dynamics = field(default_factory=dict)
    last: Decision | None = None
