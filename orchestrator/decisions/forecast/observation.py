"""One trial at one milestone, as the forecast sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial at one milestone.

    Args:
        trial_id: The trial.
        method: Its method.
        learning_rate: Its peak learning rate.
        effective_batch_size: Samples per optimizer step.
        scores: Objective at the milestones so far, oldest first, turned so that less is better; the last is now.
        dynamics: Features of `EarlyDynamics.as_dict`, may be empty.
    """

    trial_id: str
    method: str
    learning_rate: float
    effective_batch_size: int
    scores: tuple[float, ...]
    dynamics: Mapping[str, Any] = field(default_factory=dict)
