"""The state of a sweep: its trials, and what each event changes in them, in the engine and in the source.

The same code takes an event when it happens and when it is read back from the journal after a restart. Audited trials and
repeats stand in the state, too, but neither the engine nor the source hears of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.coordinating.audits_and_repeats import AuditsAndRepeats
from orchestrator.coordinating.searchers.searcher import Searcher
from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.trials import Answer, ObservedMilestone, TrialFacts
from orchestrator.records import Decision, Milestone, Outcome, TrialConfig
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.sweeps import ExtendRecord
from orchestrator.storage.journal_records.trials import (
    AuditRecord,
    DecisionRecord,
    FailureRecord,
    MilestoneRecord,
    RepeatRecord,
    TrialRecord,
)
from orchestrator.storage.journal_records.users import ResumeRecord, StopRecord
from orchestrator.storage.trial_entries import TrialEntry, fold
from orchestrator.tracking.tracker import Tracker


@dataclass
class SweepState:
    """What is known of a sweep's trials.

    Args:
        engine: Decides on the trials of the search.
        source: Proposes them.
        tracker: Told of every end and every replayed decision.
        beside: Which audits and repeats are due.
        cohort_of: Names the cohort of a configuration.
        name_of: Names a configuration for people.
        learns: Whether the source wants to hear how they do.
        closes_at: With so many trials the source has proposed all; None where that is said elsewhere.
        trials: By id, in the order in which they were proposed.
        proposed: How many of them the source proposed.
        repeating: Whether repeats have been listed; then the search was over.
        last_decision: The latest decision on any trial.
    """

    engine: StoppingEngine
    source: Searcher
    tracker: Tracker
    beside: AuditsAndRepeats
    cohort_of: Callable[[TrialConfig], str]
    name_of: Callable[[TrialConfig], str]
    learns: bool
    closes_at: int | None
    trials: dict[str, TrialEntry] = field(default_factory=dict)
    proposed: int = 0
    repeating: bool = False
    last_decision: Decision | None = None

    def replay(self, records: Iterable[JournalRecord]) -> None:
        """Take in what a journal tells: what the engine decided then, it does not decide again."""
        for record in records:
            if isinstance(record, MilestoneRecord):
                self._restore_observation(record)
            elif isinstance(record, DecisionRecord):
                self.engine.restore_decision(record.decision)
                self.tracker.log_decision(record.decision)
            entry = self.take(record)
            if entry is not None and isinstance(record, TrialRecord):
                self.source.tell(entry.config, Outcome.PENDING)

    def take(self, record: JournalRecord) -> TrialEntry | None:
        """Take in what has happened, now or in an earlier session; the engine has decided and heard of it already.

        Returns:
            The trial to which it happened; None where it happened to none.
        """
        entry = fold(self.trials, record)
        follow = self._consequences.get(type(record))
        if follow is not None:
            follow(entry, record)
        return entry

    @property
    def _consequences(self) -> dict[type[JournalRecord], Callable[[Any, Any], None]]:
        """What follows from a record beyond the trial itself, by its class."""
        return {
            TrialRecord: self._proposed,
            MilestoneRecord: self._decided,
            DecisionRecord: self._decided,
            FailureRecord: self._failed,
            StopRecord: self._stopped,
            AuditRecord: self._begun_again,
            ResumeRecord: self._begun_again,
            RepeatRecord: self._repeated,
            ExtendRecord: self._extended,
        }

    def _proposed(self, entry: TrialEntry, record: TrialRecord) -> None:
        config = entry.config
        entry.cohort = self.cohort_of(config)
        self.proposed += 1
        self.engine.add_trial(
            TrialFacts(
                trial_id=entry.trial_id,
                cohort=entry.cohort,
                method=config.method,
                learning_rate=config.learning_rate,
                effective_batch_size=config.effective_batch_size,
                seed=config.seed,
                name=entry.name,
            )
        )
        if self.proposed == self.closes_at:
            self.engine.close_arrivals()

    def _decided(self, entry: TrialEntry, record: MilestoneRecord | DecisionRecord) -> None:
        self.last_decision = record.decision
        if not entry.in_search:
            return
        if self.learns:
            level, scores = (record.level, record.scores) if isinstance(record, MilestoneRecord) else (0, None)
            self.source.tell(entry.config, entry.outcome, level, scores)
        if entry.outcome is Outcome.STOPPED:
            self.beside.note_stop(record.decision)

    def _failed(self, entry: TrialEntry, record: FailureRecord) -> None:
        self.last_decision = record.decision
        if entry.in_search:
            self.engine.mark_failed(entry.trial_id)
            self.source.tell(entry.config, entry.outcome)

    def _stopped(self, entry: TrialEntry, record: StopRecord) -> None:
        # The engine forgets it: whatever it was worth, it takes no place among those that go on, and nothing is learned
        # from where it ended.
        if record.decision is None:
            return
        self.last_decision = record.decision
        if entry.in_search:
            self.engine.forget(entry.trial_id)
            # Not as stopped, which would say that it was weak; what it scored stays known, and it is not proposed again.
            self.source.tell(entry.config, Outcome.PENDING)

    def _begun_again(self, entry: TrialEntry, record: AuditRecord | ResumeRecord) -> None:
        self.beside.begun(entry.trial_id)

    def _repeated(self, entry: TrialEntry, record: RepeatRecord) -> None:
        self.repeating = True

    def _extended(self, entry: None, record: ExtendRecord) -> None:
        # The search goes on, so the source may be asked again.
        self.repeating = False

    def _restore_observation(self, record: MilestoneRecord) -> None:
        if self.trials[record.trial].in_search:
            self.engine.restore_observation(
                ObservedMilestone(
                    record.trial,
                    record.index,
                    record.samples_seen,
                    record.state,
                    record.scores,
                    Answer(record.decision, record.dynamics),
                )
            )

    # -- what the tracker hears ------------------------------------------------------------------

    def end(self, entry: TrialEntry) -> None:
        """Tell the tracker that a trial has ended; what it knows already it drops."""
        failure = entry.verdict.reason if entry.outcome is Outcome.FAILED and entry.verdict else ""
        self.tracker.end_trial(
            entry.trial_id, entry.outcome, entry.samples_seen, decision=entry.verdict, failure=failure
        )

    def track_milestone(self, entry: TrialEntry, milestone: Milestone, decision: Decision) -> None:
        """Tell the tracker of a milestone; its events carry keys, so nothing is told twice."""
        self.tracker.log_signals(entry.trial_id, milestone.signals)
        if milestone.scores:
            self.tracker.log_scores(entry.trial_id, milestone.samples_seen, milestone.scores)
        self.tracker.log_system(entry.trial_id, milestone.samples_seen, milestone.node, milestone.system)
        self.tracker.log_decision(decision)
