"""What is known of each trial of a sweep, and how each record of the journal changes it; the same live and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.decisions.trials import Dynamics
from orchestrator.records import (
    Action,
    Decision,
    Milestone,
    Origin,
    Outcome,
    Role,
    Scalar,
    TrainingSignal,
    TrialConfig,
    TrialState,
)
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.trials import (
    AuditRecord,
    DecisionRecord,
    FailureRecord,
    MilestoneRecord,
    RepeatRecord,
    TrialRecord,
)
from orchestrator.storage.journal_records.users import AddedTrialRecord, ResumeRecord, StopRecord

USER = "user"
"""Rule of a stop that a user asked for."""


@dataclass
class TrialEntry:
    """What the driver knows of one trial.

    ``begin`` is the decision that began a trial beside the search; ``stop`` and ``stopped_at`` are the decision that had
    ended a trial which is trained on, and the samples it had seen then. ``begun_again`` counts how often that happened.
    ``stop_asked`` says who asked to stop a trial that still trains. ``levels`` are milestones of its own, in samples.
    """

    trial_id: str
    name: str
    config: TrialConfig
    cohort: str = ""
    outcome: Outcome = Outcome.PENDING
    milestones: int = 0
    samples_seen: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    last_signal: TrainingSignal | None = None
    verdict: Decision | None = None
    forecast: Mapping[str, Scalar] = field(default_factory=dict)
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    setup_seconds: list[float] = field(default_factory=list)
    launched: bool = False
    role: Role = Role.SEARCH
    begin: Decision | None = None
    stop: Decision | None = None
    stopped_at: int | None = None
    begun_again: int = 0
    stop_asked: str = ""
    origin: Origin | None = None
    levels: tuple[int, ...] = ()

    @property
    def samples_trained(self) -> int:
        """Samples that were trained for this trial: those it took over from its origin do not count."""
        taken = self.origin.samples_seen if self.origin is not None and self.origin.takes == "training" else 0
        return max(0, self.samples_seen - taken)

    @property
    def in_search(self) -> bool:
        """Whether the search decides on it: it is no repeat, and no audit of it has begun."""
        return self.role is Role.SEARCH

    def forecast_of(self, name: str) -> float | None:
        """Return a number of the latest forecast; None without one."""
        value = self.forecast.get(name)
        return value if isinstance(value, int | float) else None

    def note_progress(self, record: MilestoneRecord) -> None:
        """Take in how far a milestone's record says it is."""
        self.milestones = record.index + 1
        self.samples_seen = record.samples_seen
        self.scores = record.scores or self.scores
        self.standard_errors = record.standard_errors or self.standard_errors
        self.training_seconds += record.training_seconds
        self.evaluation_seconds += record.evaluation_seconds
        self.setup_seconds.append(record.setup_seconds)
        self.last_signal = record.last_signal or self.last_signal

    def take(self, decision: Decision, state: TrialState) -> None:
        """Come into the state that a milestone's decision leaves it in."""
        self._note_forecast(decision)
        if state is TrialState.COMPLETED:
            self.outcome, self.verdict = Outcome.COMPLETED, decision
        elif state is TrialState.DIVERGED:
            self.outcome, self.verdict = Outcome.DIVERGED, decision
        elif decision.action is Action.STOP:
            self.outcome, self.verdict = Outcome.STOPPED, decision
        else:
            self.outcome = Outcome.PAUSED if decision.action is Action.PAUSE else Outcome.RUNNING

    def settle(self, decision: Decision) -> None:
        """Take a decision that was made while it paused."""
        self._note_forecast(decision)
        if decision.action is Action.STOP:
            self.outcome, self.verdict = Outcome.STOPPED, decision
        elif decision.action is Action.CONTINUE:
            self.outcome = Outcome.PENDING

    def fail(self, decision: Decision) -> None:
        """It failed for good."""
        self.outcome, self.verdict = Outcome.FAILED, decision

    def begin_again(self, decision: Decision, role: Role) -> None:
        """It was stopped and is trained on to its end; one that was beside the search already keeps its role."""
        if self.in_search:
            self.role, self.stop, self.stopped_at = role, self.verdict, self.samples_seen
        self.begin, self.begun_again, self.stop_asked = decision, self.begun_again + 1, ""
        self.outcome, self.verdict = Outcome.PENDING, None

    def _note_forecast(self, decision: Decision) -> None:
        if "expected_final" in decision.evidence:
            self.forecast = decision.evidence


def milestone_record(milestone: Milestone, role: Role, dynamics: Dynamics, decision: Decision) -> MilestoneRecord:
    """Return a milestone as the journal holds it, the opposite of `TrialEntry.note_progress`: of its signals the last stays."""
    return MilestoneRecord(
        trial=milestone.trial_id,
        index=milestone.index,
        level=milestone.level,
        state=milestone.state,
        samples_seen=milestone.samples_seen,
        tokens_seen=milestone.tokens_seen,
        scores=dict(milestone.scores),
        standard_errors=dict(milestone.standard_errors),
        training_seconds=milestone.training_seconds,
        evaluation_seconds=milestone.evaluation_seconds,
        setup_seconds=milestone.setup_seconds,
        checkpoint=milestone.checkpoint,
        node=milestone.node,
        last_signal=milestone.signals[-1] if milestone.signals else None,
        dynamics=dynamics,
        decision=decision,
        role=role,
    )


def read_entries(records: Iterable[JournalRecord]) -> dict[str, TrialEntry]:
    """Return what a journal says of every trial, in the order in which they were proposed; no engine is needed."""
    entries: dict[str, TrialEntry] = {}
    for record in records:
        fold(entries, record)
    return entries


def fold(entries: dict[str, TrialEntry], record: JournalRecord) -> TrialEntry | None:
    """Take a record in: the one place where a record begins or changes a trial.

    Returns:
        The trial; None where the record is of none.
    """
    change = _CHANGES.get(type(record))
    return None if change is None else change(entries, record)


# -- what each kind of record changes ----------------------------------------------------------------


def _propose(entries: dict[str, TrialEntry], record: TrialRecord) -> TrialEntry:
    entry = entries[record.trial] = TrialEntry(record.trial, record.name, record.config)
    return entry


def _repeat(entries: dict[str, TrialEntry], record: RepeatRecord) -> TrialEntry:
    decision = record.decision
    entry = TrialEntry(record.trial, record.name, record.config, decision.cohort, role=Role.REPEAT, begin=decision)
    entries[record.trial] = entry
    return entry


def _add(entries: dict[str, TrialEntry], record: AddedTrialRecord) -> TrialEntry:
    origin = record.origin
    entry = entries[record.trial] = TrialEntry(
        record.trial,
        record.name,
        record.config,
        record.decision.cohort,
        samples_seen=origin.samples_seen if origin is not None and origin.takes == "training" else 0,
        role=record.role,
        begin=record.decision,
        origin=origin,
        levels=record.levels,
    )
    return entry


def _reach(entries: dict[str, TrialEntry], record: MilestoneRecord) -> TrialEntry:
    entry = _decided(entries, record.decision)
    entry.note_progress(record)
    entry.take(record.decision, record.state)
    return entry


def _settle(entries: dict[str, TrialEntry], record: DecisionRecord) -> TrialEntry:
    entry = _decided(entries, record.decision)
    entry.settle(record.decision)
    return entry


def _fail(entries: dict[str, TrialEntry], record: FailureRecord) -> TrialEntry:
    entry = _decided(entries, record.decision)
    entry.fail(record.decision)
    return entry


def _audit(entries: dict[str, TrialEntry], record: AuditRecord) -> TrialEntry:
    entry = _decided(entries, record.decision)
    entry.begin_again(record.decision, Role.AUDIT)
    return entry


def _resume(entries: dict[str, TrialEntry], record: ResumeRecord) -> TrialEntry:
    entry = _decided(entries, record.decision)
    entry.begin_again(record.decision, Role.RESUMED)
    return entry


def _stop(entries: dict[str, TrialEntry], record: StopRecord) -> TrialEntry:
    entry = entries[record.trial]
    if record.decision is None:
        entry.stop_asked = record.asked
    else:
        entry.settle(record.decision)
    return entry


def _decided(entries: Mapping[str, TrialEntry], decision: Decision) -> TrialEntry:
    entry = entries[decision.trial_id]
    entry.cohort = entry.cohort or decision.cohort
    return entry


_CHANGES: dict[type[JournalRecord], Callable[[dict[str, TrialEntry], Any], TrialEntry]] = {
    TrialRecord: _propose,
    RepeatRecord: _repeat,
    AddedTrialRecord: _add,
    MilestoneRecord: _reach,
    DecisionRecord: _settle,
    FailureRecord: _fail,
    AuditRecord: _audit,
    ResumeRecord: _resume,
    StopRecord: _stop,
}
"""By the class of a record; other records change no trial."""
