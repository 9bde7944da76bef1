"""What the rivals' adapters share: names and knobs, grace periods, and which trials train at a given moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from orchestrator.simulation.engine.scheduler import Arrival, Problem

ROUNDING_SLACK = 0.02
"""Milestones are whole optimizer steps: one this share short of a mark counts as standing at it."""

ALIGNMENT = 0.1
"""A milestone this near to a rung, as a share of it, is meant to be that rung."""


def family(name: str) -> str:
    """Return a rule's name without its knobs: ``ray-asha`` for ``ray-asha-rf4-grace1in8``.

    A knob is a part of the name that contains a digit.
    """
    return "-".join(part for part in name.split("-") if not any(sign.isdigit() for sign in part))


def grace_label(denominator: int) -> str:
    """Return the knob as it stands in a name; empty for the first level."""
    return f"-grace1in{denominator}" if denominator else ""


def grace_level(levels: Sequence[int], denominator: int) -> int:
    """Return the milestone before which a rule stops nothing, in samples.

    Args:
        levels: Rising milestones, the last is the budget.
        denominator: 0 for the first level, n for the first level at or beyond an n-th of the budget.
    """
    return next(
        level for level in levels if level * denominator >= levels[-1] * (1 - ROUNDING_SLACK) or not denominator
    )


def first_rung(levels: Sequence[int], first: int, reduction_factor: int) -> float:
    """Return where successive halving puts its first rung so that the later ones fall on milestones.

    A milestone is rounded to a whole optimizer step: with milestones at 104, 200, 400 and a first rung at 104,
    halving would look for 208 and pass over the one at 200. Who sets the rungs by hand would write 100.

    Args:
        levels: Rising milestones, the last is the budget.
        first: The milestone that is to be the first rung.
        reduction_factor: Ratio of successive rungs.

    Returns:
        Samples, at most ``first``.
    """
    found, ratio = float(first), 1
    while first * ratio <= levels[-1] * (1 + ALIGNMENT):
        nearest = min(levels, key=lambda level: abs(level - first * ratio))
        if abs(nearest - first * ratio) <= ALIGNMENT * first * ratio:
            found = min(found, nearest / ratio)
        ratio *= reduction_factor
    return found


def rung_count(levels: Sequence[int], first: float, reduction_factor: int) -> int:
    """Return how many rungs the budget holds: ``first`` and its multiples by powers of the reduction factor."""
    count = 1
    while first * reduction_factor**count <= levels[-1]:
        count += 1
    return count


def nominal_level(problem: Problem, arrival: Arrival) -> int:
    """Return the milestone's samples: the same for all trials, whatever their batch; the budget at a trial's last."""
    return problem.levels[-1] if arrival.completed else problem.levels[arrival.level_index]


def is_unscored(arrival: Arrival) -> bool:
    """Whether nothing was evaluated at a milestone, as happens to a trial that is about to diverge.

    No result is reported then, and the trial goes on. Scores without the objective's metric are an error.
    """
    return not (arrival.scores or arrival.completed or arrival.diverged)


class OwnNumpyRandom:
    """A private state of numpy's global generator, for libraries that draw from it and take no seed."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed).get_state()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Draw from the private state inside the block; the global state is as before afterwards."""
        outside = np.random.get_state()
        np.random.set_state(self._state)
        try:
            yield
        finally:
            self._state = np.random.get_state()
            np.random.set_state(outside)


class Workers:
    """Which trials train, deduced from what a `Scheduler` hears.

    A scheduler is not told when a trial starts. No worker idles while a trial waits, and promoted trials go
    before those that have not started: so the number of busy workers says who trains.
    """

    def __init__(self, problem: Problem) -> None:
        self._count = problem.workers
        self._fresh = deque(facts.trial_id for facts in problem.trials)
        self._promoted: deque[str] = deque()
        self._training: set[str] = set()

    def all_busy(self) -> list[str]:
        """Return the trials that have taken a worker since the last call, when no worker idles."""
        return self._fill(self._count)

    def some_idle(self, idle: int) -> list[str]:
        """Return the trials that have taken a worker since the last call, when ``idle`` workers are left."""
        return self._fill(self._count - idle)

    def leave(self, trial_id: str) -> None:
        """Note that a trial has left its worker."""
        self._training.discard(trial_id)

    def promote(self, trial_id: str) -> None:
        """Note that a paused trial waits for a worker."""
        self._promoted.append(trial_id)

    def unclaimed(self, idle: int) -> int:
        """Return how many of ``idle`` workers no promoted trial waits for."""
        return idle - len(self._promoted)

    def _fill(self, busy: int) -> list[str]:
        placed = []
        while len(self._training) < busy and (self._promoted or self._fresh):
            placed.append(self._promoted.popleft() if self._promoted else self._fresh.popleft())
            self._training.add(placed[-1])
        return placed
