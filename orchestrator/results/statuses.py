"""How sweeps and their trials stand: the rows of ``status``, whether read from a journal or from MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.records import Outcome, Role


@dataclass(frozen=True)
class TrialStatus:
    """How one trial stands; ``samples_seen`` of ``samples``, losses in nats per token, ``role`` as in `TrialResult`."""

    trial_id: str
    name: str
    outcome: Outcome
    samples_seen: int
    samples: int
    objective: float | None = None
    standard_error: float | None = None
    loss: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    expected: float | None = None
    probability_best: float | None = None
    reason: str = ""
    run_id: str | None = None
    role: Role = Role.SEARCH


@dataclass(frozen=True)
class SweepStatus:
    """How one sweep stands.

    Args:
        name: Its name, or that of its folder where it was set aside.
        status: ``running``, ``interrupted``, ``completed``, or ``unreadable`` (then ``problem`` says why).
        objective: Metric that defines best.
        mode: ``min`` or ``max``.
        counts: Trials by outcome.
        trials_planned: How many there are to be.
        samples_trained: Samples trained so far, all trials together.
        samples_exhaustive: Samples that training every trial to its end would take.
        best: The winner, or the best trial among those furthest along.
        began: Unix seconds of the start; None while unknown.
        updated: Unix seconds of the latest sign of life.
        elapsed_seconds: Wall seconds of all its sessions.
        location: Its folder, or the MLflow store it was read from.
        driver: Which process runs it; empty when none does or it is unknown.
        problem: Why it cannot be read.
        milestones_waiting: Milestones whose weights are kept until detached evaluation sets have scored them.
        trials: All trials, best first; empty in a list of sweeps.
    """

    name: str
    status: str
    objective: str = ""
    mode: str = "min"
    counts: Mapping[str, int] | None = None
    trials_planned: int = 0
    samples_trained: int = 0
    samples_exhaustive: int = 0
    best: TrialStatus | None = None
    began: float | None = None
    updated: float | None = None
    elapsed_seconds: float = 0.0
    location: str = ""
    driver: str = ""
    problem: str = ""
    milestones_waiting: int = 0
    trials: tuple[TrialStatus, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)
