"""What is known of each trial of a sweep, and how each record of the journal changes it; the same live and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.records import Action, Decision, Outcome, TrainingSignal, TrialConfig, TrialState
from orchestrator.tuning.journal import Record
from orchestrator.tuning.reports import decision_from


@dataclass
class TrialEntry:
    """What the driver knows of one trial."""

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

    def _note_forecast(self, decision: Decision) -> None:
        if "expected_final" in decision.evidence:
            self.forecast = decision.evidence


def read_entries(records: Iterable[Record]) -> dict[str, TrialEntry]:
    """Return what a journal says of every trial, in the order in which they were proposed; no engine is needed."""
    entries: dict[str, TrialEntry] = {}
    for record in records:
        if record["kind"] == "trial":
            config = TrialConfig.from_dict(record["config"])
            entries[record["trial"]] = TrialEntry(record["trial"], record["name"], config)
            continue
        if record["kind"] not in ("milestone", "decision", "failure"):
            continue
        decision = decision_from(record["decision"])
        assert decision is not None
        entry = entries[decision.trial_id]
        entry.cohort = entry.cohort or decision.cohort
        if record["kind"] == "milestone":
            entry.note_progress(record)
            entry.take(decision, TrialState(record["state"]))
        elif record["kind"] == "decision":
            entry.settle(decision)
        else:
            entry.fail(decision)
    return entries
