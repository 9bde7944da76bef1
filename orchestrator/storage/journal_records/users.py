"""Records of what users asked for: actions with their answers, and what they did to trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.records import Decision, Origin, Role, TrialConfig
from orchestrator.storage.journal_records.base import LEFT_OUT, JournalRecord

ActionState = Literal["done", "accepted", "refused"]


@dataclass(frozen=True, kw_only=True)
class ActionRecord(JournalRecord):
    """An action of a user, and what became of it.

    Args:
        id: Names the action; empty for a tag that could not be read.
        asked: The action as it was asked for.
        state: ``accepted`` is done later, at the trial's next milestone.
        answer: A sentence.
        made: The trial that came of it.
    """

    id: str
    asked: Mapping[str, object]
    state: ActionState
    answer: str
    made: str = field(default="", metadata=LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class StopRecord(JournalRecord):
    """A user has stopped a trial, or without a decision asked for it to stop at its next milestone."""

    trial: str
    asked: str
    decision: Decision | None


@dataclass(frozen=True, kw_only=True)
class ResumeRecord(JournalRecord):
    """A stopped trial is trained on to its end because a user asked."""

    trial: str
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class AddedTrialRecord(JournalRecord):
    """A user has added a trial: a clone, or one that trains a completed trial on to a larger budget (``role``).

    ``levels`` are milestones of its own, in samples; empty: those of the sweep.
    """

    trial: str
    name: str
    config: TrialConfig
    role: Role
    origin: Origin | None
    levels: tuple[int, ...]
    decision: Decision
