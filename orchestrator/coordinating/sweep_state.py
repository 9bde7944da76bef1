"""The state of a sweep: its trials, and what each event changes in them, in the engine and in the source.

The same code takes an event when it happens and when it is read back from the journal after a restart. Audited trials and
repeats stand in the state, too, but neither the engine nor the source hears of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.coordinating.audits_and_repeats import AuditsAndRepeats
from orchestrator.coordinating.searchers.searcher import Searcher
from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.trials import Answer, ObservedMilestone, TrialFacts
from orchestrator.records import Decision, Milestone, Outcome, Role, TrialConfig, TrialState
from orchestrator.storage.journal import Record
from orchestrator.storage.milestone_reports import decision_from
from orchestrator.storage.trial_entries import TrialEntry, added_entry, take_stop
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

    def replay(self, records: Iterable[Record]) -> None:
        """Take in what a journal tells."""
        for record in records:
            handler = getattr(self, f"_replay_{record['kind']}", None)
            if handler is not None:
                handler(record)

    # -- events ----------------------------------------------------------------------------------

    def add(self, trial_id: str, config: TrialConfig, name: str = "") -> None:
        """The source has proposed a trial; ``name`` where it has one already (a wider search space names more)."""
        entry = TrialEntry(trial_id, name or self.name_of(config), config, self.cohort_of(config))
        self.trials[trial_id] = entry
        self.proposed += 1
        self.engine.add_trial(
            TrialFacts(
                trial_id=trial_id,
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

    def repeat_record(self, config: TrialConfig, decision: Decision) -> Record:
        """Return a repeat as the journal holds it."""
        name = self.name_of(config)
        return {"trial": decision.trial_id, "name": name, "config": config.as_dict(), "decision": asdict(decision)}

    def add_repeat(self, config: TrialConfig, decision: Decision) -> TrialEntry:
        """A candidate is repeated with another seed."""
        name, trial_id = self.name_of(config), decision.trial_id
        self.trials[trial_id] = TrialEntry(trial_id, name, config, decision.cohort, role=Role.REPEAT, begin=decision)
        self.repeating = True
        return self.trials[trial_id]

    def take(self, entry: TrialEntry, decision: Decision, record: Mapping[str, Any]) -> None:
        """A trial has reached a milestone (its record), and the engine has heard of it."""
        self.last_decision = decision
        entry.note_progress(record)
        entry.take(decision, TrialState(record["state"]))
        self._after_decision(entry, decision, record)

    def settle(self, entry: TrialEntry, decision: Decision) -> None:
        """The engine has decided on a trial that paused."""
        self.last_decision = decision
        entry.settle(decision)
        self._after_decision(entry, decision)

    def fail(self, entry: TrialEntry, decision: Decision) -> None:
        """A trial has failed for good."""
        self.last_decision = decision
        entry.fail(decision)
        if entry.in_search:
            self.engine.mark_failed(entry.trial_id)
            self.source.tell(entry.config, entry.outcome)

    def stop(self, entry: TrialEntry, record: Record) -> None:
        """A user has stopped a trial, or wants it stopped.

        The engine forgets it: whatever it was worth, it takes no place among those that go on, and nothing is learned
        from where it ended.
        """
        in_search, decision = entry.in_search, take_stop(entry, record)
        if decision is None:
            return
        self.last_decision = decision
        if in_search:
            self.engine.forget(entry.trial_id)
            # Not as stopped, which would say that it was weak; what it scored stays known, and it is not proposed again.
            self.source.tell(entry.config, Outcome.PENDING)

    def resume(self, entry: TrialEntry, decision: Decision) -> None:
        """A stopped trial is trained on because a user asked for it."""
        self.beside.begun(entry.trial_id)
        entry.begin_again(decision, Role.RESUMED)

    def add_asked(self, record: Record) -> TrialEntry:
        """A user has added a trial (its record)."""
        entry = added_entry(record)
        self.trials[entry.trial_id] = entry
        return entry

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

    def _after_decision(
        self, entry: TrialEntry, decision: Decision, milestone: Mapping[str, Any] | None = None
    ) -> None:
        if not entry.in_search:
            return
        if self.learns:
            level, scores = (0, None) if milestone is None else (milestone["level"], milestone["scores"])
            self.source.tell(entry.config, entry.outcome, level, scores)
        if entry.outcome is Outcome.STOPPED:
            self.beside.note_stop(decision)

    # -- the same events, read back --------------------------------------------------------------

    def _replay_trial(self, record: Record) -> None:
        config = TrialConfig.from_dict(record["config"])
        self.add(record["trial"], config, record["name"])
        self.source.tell(config, Outcome.PENDING)

    def _replay_milestone(self, record: Record) -> None:
        entry, decision = self._told(record)
        if entry.in_search:
            self.engine.restore_observation(
                ObservedMilestone(
                    entry.trial_id,
                    record["index"],
                    record["samples_seen"],
                    TrialState(record["state"]),
                    record["scores"],
                    Answer(decision, record["dynamics"]),
                )
            )
        self.take(entry, decision, record)

    def _replay_decision(self, record: Record) -> None:
        entry, decision = self._told(record)
        self.engine.restore_decision(decision)
        self.tracker.log_decision(decision)
        self.settle(entry, decision)

    def _replay_failure(self, record: Record) -> None:
        self.fail(*self._told(record))

    def _replay_audit(self, record: Record) -> None:
        entry, decision = self._told(record)
        self.beside.begun(entry.trial_id)
        entry.begin_audit(decision)

    def _replay_repeat(self, record: Record) -> None:
        decision = decision_from(record["decision"])
        assert decision is not None
        self.add_repeat(TrialConfig.from_dict(record["config"]), decision)

    def _replay_extend(self, record: Record) -> None:
        # The search goes on, so the source may be asked again.
        self.repeating = False

    def _replay_stop(self, record: Record) -> None:
        self.stop(self.trials[record["trial"]], record)

    def _replay_resume(self, record: Record) -> None:
        self.resume(*self._told(record))

    def _replay_clone(self, record: Record) -> None:
        self.add_asked(record)

    def _told(self, record: Record) -> tuple[TrialEntry, Decision]:
        decision = decision_from(record["decision"])
        assert decision is not None
        return self.trials[decision.trial_id], decision
