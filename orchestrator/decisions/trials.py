"""What the engine knows of a trial: the facts it is told beforehand, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.records import Decision, Outcome

Dynamics = Mapping[str, Any]
"""Features of `EarlyDynamics.as_dict`, and under ``tracker`` the running state that the next milestone needs."""


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
