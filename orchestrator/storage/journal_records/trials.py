"""Records of trials that the sweep itself began, and of what was measured and decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.decisions.trials import Dynamics
from orchestrator.records import Decision, Role, TrainingSignal, TrialConfig, TrialState
from orchestrator.storage.journal_records.base import LEFT_OUT, JournalRecord


@dataclass(frozen=True, kw_only=True)
class TrialRecord(JournalRecord):
    """The searcher has proposed a trial."""

    trial: str
    name: str
    config: TrialConfig


@dataclass(frozen=True, kw_only=True)
class MilestoneRecord(JournalRecord):
    """A trial has reached a milestone (`Milestone`), and this was decided.

    ``dynamics`` is what the engine took from its training signals; ``role`` what it is trained for, if not for the search.
    """

    trial: str
    index: int
    level: int
    state: TrialState
    samples_seen: int
    tokens_seen: int
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    training_seconds: float
    evaluation_seconds: float
    setup_seconds: float = 0.0
    checkpoint: str | None = None
    node: str = ""
    last_signal: TrainingSignal | None = None
    dynamics: Dynamics = field(default_factory=dict)
    decision: Decision
    role: Role = field(default=Role.SEARCH, metadata=LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class DecisionRecord(JournalRecord):
    """The engine has decided on a trial that paused."""

    decision: Decision


@dataclass(frozen=True, kw_only=True)
class FailureRecord(JournalRecord):
    """A trial has failed for good."""

    trial: str
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class AuditRecord(JournalRecord):
    """A trial that the search stopped is trained on to its end for the audit."""

    trial: str
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class RepeatRecord(JournalRecord):
    """One of the best recipes is trained with another seed."""

    trial: str
    name: str
    config: TrialConfig
    decision: Decision
