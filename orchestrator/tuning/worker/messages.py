"""The two small dictionaries that pass through Ray Tune between the driver and a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

Misuse = tuple[str, str, object, str, str]
"""The parts of an `orchestrator.errors.EntrypointError`: where, field, value, rule and mend."""


class WorkerConfig(TypedDict):
    """Which trial a worker trains, and from where.

    Attributes:
        trial_id: The trial.
        trial: Its configuration as a dictionary.
        known_milestones: Milestones that the driver knows already.
        takes: Of a trial that was made from another one, what it takes from it (see `orchestrator.records.Origin`).
        levels: Milestones of its own; empty: those of the sweep.
    """

    trial_id: str
    trial: Mapping[str, object]
    known_milestones: int
    takes: NotRequired[str]
    levels: NotRequired[Sequence[int]]


class StepResult(TypedDict):
    """What one step of a worker comes to; the milestone's report itself lies in the storage.

    Attributes:
        trial: The trial.
        milestone: The milestone that was reached; -1 where none was.
        failure: Why the trial failed.
        halt: Why the whole sweep must stop.
        stopped: Whether a user stopped the trial between two milestones.
        misuse: How the user's code does not keep to what a trial promises; None where it does.
    """

    trial: str
    milestone: int
    failure: str
    halt: str
    stopped: bool
    misuse: Misuse | None
