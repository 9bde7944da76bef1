"""Records of what a sweep is, and of what follows its search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.storage.journal_records.base import LEFT_OUT, JournalRecord


@dataclass(frozen=True, kw_only=True)
class SweepRecord(JournalRecord):
    """A sweep has begun.

    Args:
        sweep_id: Names it in MLflow.
        content: Its resolved file, by which it is told from another sweep.
        format: What the words of ``content`` mean; 1 was not written down.
        inputs: Digests of what trials read.
        plan: The numbers that all trials share.
    """

    sweep_id: str
    content: Mapping[str, Any]
    format: int = field(default=1, metadata=LEFT_OUT)
    inputs: Mapping[str, str]
    plan: SweepPlan


@dataclass(frozen=True, kw_only=True)
class ExtendRecord(JournalRecord):
    """A sweep was extended: its file and its numbers are these from now on; ``who`` asked for it."""

    content: Mapping[str, Any]
    format: int = field(default=1, metadata=LEFT_OUT)
    plan: SweepPlan
    who: str = ""


@dataclass(frozen=True, kw_only=True)
class InputsRecord(JournalRecord):
    """What trials read has changed before any of them reached a milestone: its digests are these from now on."""

    inputs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class AfterSearchRecord(JournalRecord):
    """Which audit and repeats a session was asked for, as `SweepSpec.after_search` says it."""

    stopping: Mapping[str, Any]
    winner: Mapping[str, Any]


StandingRecord = SweepRecord | ExtendRecord
"""Records that say what the sweep is: the latest counts."""
