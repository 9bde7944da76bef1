"""What is known of each trial of a sweep, and how each record of the journal changes it; the same live and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.records import (
    Action,
    Decision,
    Milestone,
    Origin,
    Outcome,
    Role,
    TrainingSignal,
    TrialConfig,
    TrialState,
)
from orchestrator.storage.journal import Record
from orchestrator.storage.milestone_reports import decision_from

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
    forecast: Mapping[str, Any] = field(default_factory=dict)
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

    def note_progress(self, record: Mapping[str, Any]) -> None:
        """Take in how far a milestone's record says it is."""
        self.milestones = record["index"] + 1
        self.samples_seen = record["samples_seen"]
        self.scores = record["scores"] or self.scores
        self.standard_errors = record["standard_errors"] or self.standard_errors
        self.training_seconds += record["training_seconds"]
        self.evaluation_seconds += record["evaluation_seconds"]
        self.setup_seconds.append(record["setup_seconds"])
        if record["last_signal"] is not None:
            self.last_signal = TrainingSignal(**record["last_signal"])

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

    def begin_audit(self, decision: Decision) -> None:
        """The search has stopped it, and it is trained on to its end."""
        self.begin_again(decision, Role.AUDIT)

    def begin_again(self, decision: Decision, role: Role) -> None:
        """It was stopped and is trained on to its end; one that was beside the search already keeps its role."""
        if self.in_search:
            self.role, self.stop, self.stopped_at = role, self.verdict, self.samples_seen
        self.begin, self.begun_again, self.stop_asked = decision, self.begun_again + 1, ""
        self.outcome, self.verdict = Outcome.PENDING, None

    def ask_to_stop(self, asked: str) -> None:
        """A user wants it stopped at its next milestone."""
        self.stop_asked = asked

    def _note_forecast(self, decision: Decision) -> None:
        if "expected_final" in decision.evidence:
            self.forecast = decision.evidence


def milestone_record(
    entry: TrialEntry, milestone: Milestone, dynamics: Mapping[str, Any], decision: Decision
) -> Record:
    """Return a milestone as the journal holds it, the opposite of `TrialEntry.note_progress`."""
    record: Record = {
        "trial": entry.trial_id,
        "index": milestone.index,
        "level": milestone.level,
        "state": milestone.state.value,
        "samples_seen": milestone.samples_seen,
        "tokens_seen": milestone.tokens_seen,
        "scores": dict(milestone.scores),
        "standard_errors": dict(milestone.standard_errors),
        "training_seconds": milestone.training_seconds,
        "evaluation_seconds": milestone.evaluation_seconds,
        "setup_seconds": milestone.setup_seconds,
        "checkpoint": milestone.checkpoint,
        "node": milestone.node,
        "last_signal": asdict(milestone.signals[-1]) if milestone.signals else None,
        "dynamics": dynamics,
        "decision": asdict(decision),
    }
    return record if entry.in_search else {**record, "role": entry.role.value}


def read_entries(records: Iterable[Record]) -> dict[str, TrialEntry]:
    """Return what a journal says of every trial, in the order in which they were proposed; no engine is needed."""
    entries: dict[str, TrialEntry] = {}
    for record in records:
        if record["kind"] in ("trial", "repeat"):
            config = TrialConfig.from_dict(record["config"])
            entries[record["trial"]] = TrialEntry(record["trial"], record["name"], config)
        elif record["kind"] == "clone":
            entries[record["trial"]] = added_entry(record)
        if record["kind"] in ("milestone", "decision", "failure", "audit", "repeat", "resume"):
            _fold(entries, record)
        elif record["kind"] == "stop":
            take_stop(entries[record["trial"]], record)
    return entries


def added_entry(record: Record) -> TrialEntry:
    """Return the trial that a user added, as the journal holds it."""
    decision = decision_from(record["decision"])
    assert decision is not None
    origin = Origin.from_dict(record["origin"])
    return TrialEntry(
        record["trial"],
        record["name"],
        TrialConfig.from_dict(record["config"]),
        decision.cohort,
        samples_seen=origin.samples_seen if origin is not None and origin.takes == "training" else 0,
        role=Role(record["role"]),
        begin=decision,
        origin=origin,
        levels=tuple(record["levels"]),
    )


def take_stop(entry: TrialEntry, record: Record) -> Decision | None:
    """Take in that a user stopped a trial; returns the decision, None where it waits for the next milestone."""
    decision = decision_from(record["decision"])
    if decision is None:
        entry.ask_to_stop(record["asked"])
    else:
        entry.settle(decision)
    return decision


def _fold(entries: Mapping[str, TrialEntry], record: Record) -> None:
    decision = decision_from(record["decision"])
    assert decision is not None
    entry = entries[decision.trial_id]
    entry.cohort = entry.cohort or decision.cohort
    if record["kind"] == "milestone":
        entry.note_progress(record)
        entry.take(decision, TrialState(record["state"]))
    elif record["kind"] == "decision":
        entry.settle(decision)
    elif record["kind"] == "audit":
        entry.begin_audit(decision)
    elif record["kind"] == "resume":
        entry.begin_again(decision, Role.RESUMED)
    elif record["kind"] == "repeat":
        entry.role, entry.begin = Role.REPEAT, decision
    elif record["kind"] == "failure":
        entry.fail(decision)
