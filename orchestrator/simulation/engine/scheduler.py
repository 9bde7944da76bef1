"""What a simulated scheduler is told and what it answers; ours and every rival's speak this.

Time is simulated: `Scheduler` hears of milestones in the order in which N workers would reach them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.decisions.objective import Objective
from orchestrator.decisions.trials import UNKNOWN_EPOCHS, TrialFacts
from orchestrator.records import Action, TrainingSignal

Verdicts = Sequence[tuple[str, Action]]
"""Trial ids with CONTINUE (a paused trial goes on when a worker takes it) or STOP (a paused trial ends, or one that
has not started never does)."""


@dataclass(frozen=True)
class Problem:
    """A replayed sweep as a scheduler may know it beforehand.

    ``levels`` are milestones in samples seen, rising, the last is the whole budget of a trial. ``trials``
    stand in the order in which they start. ``seed`` serves schedulers that draw at random. ``epochs``: how often a whole
    trial sees each training row.
    """

    levels: tuple[int, ...]
    objective: Objective
    trials: tuple[TrialFacts, ...]
    workers: int
    seed: int
    epochs: float = UNKNOWN_EPOCHS


@dataclass(frozen=True)
class Arrival:
    """A trial has reached a milestone.

    ``samples_seen`` may exceed the level by less than one effective batch. ``scores`` is what was evaluated
    there (empty when the trial diverged). ``signals`` are those since its last milestone. ``seconds`` is
    training time since the trial's start. ``completed``: this is its last milestone. ``diverged``: it has ended.
    """

    trial_id: str
    level_index: int
    samples_seen: int
    scores: Mapping[str, float]
    signals: Sequence[TrainingSignal]
    seconds: float
    completed: bool = False
    diverged: bool = False


class Scheduler(Protocol):
    """A stopping rule under replay.

    Contract: `begin` once; then `arrive` for every milestone a trial reaches, also its last (the answer to
    which is not looked at); `settle` after every arrival and whenever a worker is free. The simulator starts
    trials in the order of `Problem.trials`, promoted (paused) trials first.
    """

    name: str

    def begin(self, problem: Problem) -> None:
        """Forget everything and take a new sweep."""
        ...

    def arrive(self, arrival: Arrival) -> Action:
        """Return what the trial does now."""
        ...

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Return verdicts on paused trials.

        Args:
            idle_workers: Workers without a trial.
            waiting: Trials that have not started yet or were promoted and wait for a worker.
        """
        ...

    def winner(self) -> str | None:
        """Return the chosen trial, or None to let the simulator take the best of those that went farthest."""
        ...
