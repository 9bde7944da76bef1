"""The kinds of records by the words under which a journal holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.sessions import SessionEndRecord, SessionRecord, TrackingRecord
from orchestrator.storage.journal_records.sweeps import AfterSearchRecord, ExtendRecord, InputsRecord, SweepRecord
from orchestrator.storage.journal_records.trials import (
    AuditRecord,
    DecisionRecord,
    FailureRecord,
    MilestoneRecord,
    RepeatRecord,
    TrialRecord,
)
from orchestrator.storage.journal_records.users import ActionRecord, AddedTrialRecord, ResumeRecord, StopRecord

KINDS: dict[str, type[JournalRecord]] = {
    "sweep": SweepRecord,
    "extend": ExtendRecord,
    "inputs": InputsRecord,
    "after_search": AfterSearchRecord,
    "session": SessionRecord,
    "session_end": SessionEndRecord,
    "tracking": TrackingRecord,
    "trial": TrialRecord,
    "milestone": MilestoneRecord,
    "decision": DecisionRecord,
    "failure": FailureRecord,
    "audit": AuditRecord,
    "repeat": RepeatRecord,
    "action": ActionRecord,
    "stop": StopRecord,
    "resume": ResumeRecord,
    "clone": AddedTrialRecord,
}
"""Adding a kind: its class, and a line here. What it changes in a trial stands in `storage.trial_entries`."""

WORDS = {kind: word for word, kind in KINDS.items()}

DecidedRecord = (
    MilestoneRecord
    | DecisionRecord
    | FailureRecord
    | AuditRecord
    | RepeatRecord
    | StopRecord
    | ResumeRecord
    | AddedTrialRecord
)
"""Records that hold a decision on a trial."""


@dataclass(frozen=True, kw_only=True)
class UnknownRecord(JournalRecord):
    """A record of a kind that a later version writes: nothing here reads it."""

    kind: str
    values: Mapping[str, Any]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Keep all that the line says."""
        rest = {name: value for name, value in values.items() if name not in ("kind", "time", "epoch")}
        return cls(time=values.get("time", 0.0), epoch=values.get("epoch", 0), kind=values["kind"], values=rest)


def class_of(line: Mapping[str, Any]) -> type[JournalRecord]:
    """Return the class of the record of a line."""
    return KINDS.get(line["kind"], UnknownRecord)


def read_record(line: Mapping[str, Any]) -> JournalRecord:
    """Return the record of a line; its errors are those of `JournalRecord.from_dict`."""
    return class_of(line).from_dict(line)
