"""The coordinator: one sweep's state in the driver, without Ray.

The scheduler and searcher adapters only translate between Ray Tune and the four questions answered here:
what to train next (`next_assignment`), what to do after a milestone (`report`), what to do when a trial's
process is lost for good (`fail`), and which paused trials go on or end (`promoted`, `condemned`).
Every answer is written to the journal before it takes effect, so that a driver that is killed at any
moment is rebuilt by `restore` into the same state.

Beside the trials of the search there are audits and repeats (`AuditsAndRepeats`). They are journaled as the others are, start
where the search leaves a slot for good, and never reach the engine or the source. Trials that a user asked for by name
(resumed ones, clones) do not reach them either, but start as soon as a slot is free.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from orchestrator.coordinating.audits_and_repeats import AuditsAndRepeats
from orchestrator.coordinating.queues import Assignment, Queues
from orchestrator.coordinating.searchers.searcher import Searcher
from orchestrator.coordinating.sweep_state import SweepState
from orchestrator.coordinating.user_decisions import origin_tags, resume_decision, stop_decision
from orchestrator.decisions.engine.engine import StoppingEngine
from orchestrator.decisions.trials import Answer
from orchestrator.records import Action, Decision, Milestone, Outcome, TrialConfig
from orchestrator.spec.trial.identity import trial_fingerprint
from orchestrator.storage.journal import Journal
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.trials import (
    AuditRecord,
    DecisionRecord,
    FailureRecord,
    RepeatRecord,
    TrialRecord,
)
from orchestrator.storage.journal_records.users import ActionRecord, AddedTrialRecord, ResumeRecord, StopRecord
from orchestrator.storage.trial_entries import USER, TrialEntry, milestone_record
from orchestrator.tracking.tracker import Tracker, TrialInfo

FAILURE_RULE = "failure"


class Coordinator:
    """Owns the trials of a sweep.

    Args:
        engine: Decides; fresh, `restore` replays the journal into it.
        source: Proposes configurations.
        journal: The sweep's memory.
        tracker: Told of everything; must never block or raise.
        planned_trials: How many trials the sweep has.
        slots: How many trials may run at once.
        cohort_of: Names the cohort of a configuration.
        name_of: Names a configuration for people.
        trial_info: Describes a trial to the tracker.
        known_upfront: Whether the source does not learn, so that all trials can be listed at the start.
        deadline: Monotonic time after which nothing new starts, or None.
        beside: Which audits and repeats are due; None: none.
    """

    def __init__(
        self,
        *,
        engine: StoppingEngine,
        source: Searcher,
        journal: Journal,
        tracker: Tracker,
        planned_trials: int,
        slots: int,
        cohort_of: Callable[[TrialConfig], str],
        name_of: Callable[[TrialConfig], str],
        trial_info: Callable[[str, str, TrialConfig], TrialInfo],
        known_upfront: bool,
        deadline: float | None = None,
        beside: AuditsAndRepeats | None = None,
    ) -> None:
        self.engine, self._source, self._journal, self._tracker = engine, source, journal, tracker
        self._planned, self._slots, self._trial_info = planned_trials, slots, trial_info
        self._known_upfront, self._deadline = known_upfront, deadline
        self._beside = AuditsAndRepeats(engine.objective) if beside is None else beside
        closes_at = None if known_upfront else planned_trials
        self._state = SweepState(
            engine, source, tracker, self._beside, cohort_of, name_of, not known_upfront, closes_at
        )
        self.queues = Queues()
        self.stopping = False
        self._source_dry = False

    @property
    def trials(self) -> dict[str, TrialEntry]:
        """All trials by id."""
        return self._state.trials

    @property
    def compares(self) -> bool:
        """Whether trials are compared at rungs, and some go on."""
        return self.engine.compares

    @property
    def last_decision(self) -> Decision | None:
        """The latest decision on any of them."""
        return self._state.last_decision

    # -- restart ---------------------------------------------------------------------------------

    def restore(self) -> None:
        """Rebuild the state from the journal, then list the trials that are known up front."""
        self._state.replay(self._journal.records[:])
        self._source_dry = self._state.repeating
        begun: list[str] = []
        for entry in list(self.trials.values()):
            if entry.stop_asked and not entry.outcome.is_final:
                self._end_by_user(entry, entry.stop_asked)
            if entry.outcome in (Outcome.RUNNING, Outcome.PENDING):
                entry.outcome = Outcome.PENDING
                queue = self.queues.fresh if entry.in_search else self.queues.asked if entry.role.asked else begun
                queue.append(entry.trial_id)
            if entry.outcome.is_final:
                if entry.verdict is not None and entry.verdict.rule == USER:
                    self._announce(entry)
                # The kill may have fallen between journal and tracker; what the tracker knows it drops.
                self._state.end(entry)
        # Trials that had begun go first: their checkpoints are the cheapest samples there are.
        self.queues.fresh = deque(sorted(self.queues.fresh, key=lambda trial_id: -self.trials[trial_id].milestones))
        self._beside.due.extendleft(sorted(begun, key=lambda trial_id: self.trials[trial_id].milestones))
        if self._known_upfront:
            while self._state.proposed < self._planned and self._propose() is not None:
                pass
            self.engine.close_arrivals()
        self._settle()

    # -- what Ray asks ---------------------------------------------------------------------------

    def next_assignment(self) -> Assignment | None:
        """Return a trial to start in this process, or None when there is none now."""
        if self.halting:
            return None
        if (asked := self.queues.next_asked()) is not None:
            self.queues.asked.remove(asked)
            return self._assign(asked)
        promoted = next((trial_id for trial_id in self.queues.promoted if not self.trials[trial_id].launched), None)
        if promoted is not None:
            self.queues.promoted.remove(promoted)
            return self._assign(promoted)
        if not self.queues.fresh and self._more_to_propose:
            self._propose()
        return self._assign(self.queues.fresh.popleft()) if self.queues.fresh else self._next_extra()

    def report(self, milestone: Milestone, halted: Decision | None) -> Action:
        """Take a milestone and say what its trial does next; a milestone that is known already goes on."""
        entry = self.trials[milestone.trial_id]
        if milestone.index < entry.milestones:
            return Action.CONTINUE if not entry.outcome.is_final else Action.STOP
        answer = self._ask(entry, milestone, halted)
        decision = answer.decision
        # Tracking first: its events carry keys and are dropped when repeated, while a milestone that the
        # journal holds is never told again.
        self._state.track_milestone(entry, milestone, decision)
        self._write(milestone_record(milestone, entry.role, answer.dynamics, decision))
        if entry.stop_asked and not entry.outcome.is_final:
            self._end_by_user(entry, entry.stop_asked)
        self._settle()
        return self._action_after(entry, decision)

    def _ask(self, entry: TrialEntry, milestone: Milestone, halted: Decision | None) -> Answer:
        if entry.in_search:
            return self.engine.observe(milestone, halted)
        return Answer(self._beside.after_milestone(entry, milestone, halted))

    def fail(self, trial_id: str, reason: str) -> None:
        """A trial failed for good; the sweep goes on without it."""
        entry = self.trials[trial_id]
        if entry.outcome.is_final:
            return
        decision = Decision(trial_id, entry.samples_seen, Action.STOP, FAILURE_RULE, entry.cohort, reason)
        self._write(FailureRecord(trial=trial_id, decision=decision))
        self._state.end(entry)
        self._settle()

    # -- what users ask --------------------------------------------------------------------------

    def stop_by_user(self, trial_id: str, asked: str, *notes: ActionRecord) -> None:
        """End a trial that waits at once, one that trains at its next milestone; it must not have ended.

        Args:
            trial_id: The trial.
            asked: Who asked, and when, as a clause.
            notes: Journaled with it.
        """
        entry = self.trials[trial_id]
        if entry in self.running:
            self._write(StopRecord(trial=trial_id, asked=asked, decision=None), *notes)
            return
        self._end_by_user(entry, asked, *notes)
        self._settle()

    def stopped_now(self, trial_id: str) -> None:
        """A trial has been stopped between two milestones, as a user asked."""
        entry = self.trials[trial_id]
        if not entry.outcome.is_final:
            self._end_by_user(entry, entry.stop_asked or "it was asked")
            self._settle()

    def resume_by_user(self, trial_id: str, asked: str, *notes: ActionRecord) -> None:
        """Train a stopped trial on to its end as soon as a slot is free; nobody judges it."""
        entry = self.trials[trial_id]
        if trial_id in self._beside.due:
            self._begin_audit(entry, *notes)
        else:
            self._write(ResumeRecord(trial=trial_id, decision=resume_decision(entry, asked)), *notes)
        self.queues.asked.append(trial_id)

    def add_by_user(self, record: AddedTrialRecord, *notes: ActionRecord) -> None:
        """Add a trial (see `TrialEntry.role`) that starts as soon as a slot is free; nobody judges it."""
        self._write(record, *notes)
        self.queues.asked.append(record.trial)

    def cohort_of(self, config: TrialConfig) -> str:
        """Name the cohort of a configuration."""
        return self._state.cohort_of(config)

    def is_drawn(self, trial_id: str) -> bool:
        """Whether a stopped trial waits for its audit."""
        return trial_id in self._beside.due

    def save_and_halt(self, trial_id: str) -> None:
        """A worker cannot go on for a cause outside the trial (a full disk): end the session, resumable."""
        self.trials[trial_id].launched = False
        self.stopping = True

    def next_promoted(self) -> str | None:
        """Return a paused trial of this process that may go on, without removing it from the queue.

        None while a trial waits that a user asked for: it takes the slot.
        """
        if self.queues.next_asked() is not None:
            return None
        return next((trial_id for trial_id in self.queues.promoted if self.trials[trial_id].launched), None)

    def resumed(self, trial_id: str) -> None:
        """A promoted trial runs again."""
        if trial_id in self.queues.promoted:
            self.queues.promoted.remove(trial_id)
        self.trials[trial_id].outcome = Outcome.RUNNING

    def settle_idle(self) -> None:
        """Let the engine judge paused trials because a slot would stay idle otherwise."""
        self._settle()

    @property
    def out_of_time(self) -> bool:
        """Whether the wall-time budget is spent."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def halting(self) -> bool:
        """Whether this session ends: running trials are saved at their next milestone, nothing else starts."""
        return self.stopping or self.out_of_time

    @property
    def running(self) -> list[TrialEntry]:
        """Trials that train now."""
        return [entry for entry in self.trials.values() if entry.outcome is Outcome.RUNNING and entry.launched]

    @property
    def open_trials(self) -> bool:
        """Whether some trial could still be trained on, or is due for an audit."""
        return bool(self._beside.due) or any(not entry.outcome.is_final for entry in self.trials.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do in this process."""
        if self.running:
            return False
        return self.halting or (not self.open_trials and not self._more_to_propose)

    # -- inside ----------------------------------------------------------------------------------

    def _write(self, *records: JournalRecord) -> None:
        """Journal what has happened, then take it in."""
        self._journal.append(*records)
        for record in records:
            self._state.take(record)

    @property
    def _more_to_propose(self) -> bool:
        return not self._source_dry and not self._known_upfront and self._state.proposed < self._planned

    def _propose(self) -> str | None:
        """Take the next new configuration from the source into the sweep."""
        for _ in range(1000):
            config = self._source.propose()
            if config is None:
                break
            trial_id = trial_fingerprint(config)
            if trial_id not in self.trials:
                self._write(TrialRecord(trial=trial_id, name=self._state.name_of(config), config=config))
                self.queues.fresh.append(trial_id)
                return trial_id
        self._source_dry = True
        self.engine.close_arrivals()
        self._list_repeats()
        return None

    def _announce(self, entry: TrialEntry) -> None:
        info = self._trial_info(entry.trial_id, entry.name, entry.config)
        name = info.name if entry.in_search else f"{info.name} · {entry.role}"
        tags = {**info.tags, **origin_tags(entry.origin)}
        self._tracker.start_trial(replace(info, name=name, role=entry.role, tags=tags, begun_again=entry.begun_again))

    def _end_by_user(self, entry: TrialEntry, asked: str, *notes: ActionRecord) -> None:
        """End a trial because a user asked."""
        decision = stop_decision(entry, asked)
        self._write(StopRecord(trial=entry.trial_id, asked=asked, decision=decision), *notes)
        self.queues.leave(entry.trial_id, self._beside.due)
        if entry.launched:
            self.queues.condemned.append(entry.trial_id)
        self._announce(entry)  # a trial that never began has no run yet
        self._tracker.log_decision(decision)
        self._state.end(entry)

    def _begin_audit(self, entry: TrialEntry, *notes: ActionRecord) -> None:
        self._write(AuditRecord(trial=entry.trial_id, decision=self._beside.audit_start(entry)), *notes)

    def _assign(self, trial_id: str) -> Assignment:
        entry = self.trials[trial_id]
        entry.outcome, entry.launched = Outcome.RUNNING, True
        self._announce(entry)
        if entry.begin is not None:
            self._state.last_decision = entry.begin
            self._tracker.log_decision(entry.begin)
        return Assignment.of(entry)

    def _next_extra(self) -> Assignment | None:
        """Return an audit or a repeat, if there is a slot that the search cannot use any more.

        Every open trial of the search counts as holding a slot, even where it waits: so the search goes as it would
        without them, and none of them is ever in its way.
        """
        searching = sum(not entry.outcome.is_final for entry in self.trials.values() if entry.in_search)
        searching += self._planned - self._state.proposed if self._more_to_propose else 0
        extra = sum(not entry.in_search for entry in self.running)
        if searching + extra >= self._slots:
            return None
        # Ray may not have ended its paused trial of this id yet.
        trial_id = self.queues.free(self._beside.due)
        if trial_id is None:
            return None
        entry = self.trials[trial_id]
        if entry.in_search:
            self._begin_audit(entry)
        else:
            self._beside.due.remove(trial_id)
        return self._assign(trial_id)

    def _list_repeats(self) -> None:
        """List the repeats that are due; only once search and audit are over, as they choose the candidates."""
        if self.halting or self.open_trials or self._more_to_propose:
            return
        wanted = [
            RepeatRecord(trial=decision.trial_id, name=self._state.name_of(config), config=config, decision=decision)
            for config, decision in self._beside.next_repeats(self.trials)
        ]
        if wanted:
            self._write(*wanted)
            self._beside.due.extend(record.trial for record in wanted)

    def _action_after(self, entry: TrialEntry, decision: Decision) -> Action:
        """Translate the entry's state to what Ray does with the worker now."""
        if entry.outcome.is_final:
            self._state.end(entry)
            if entry.trial_id in self.queues.condemned:
                self.queues.condemned.remove(entry.trial_id)
            return Action.STOP
        if entry.trial_id in self.queues.promoted and not self.halting:
            # Promoted by the very settling that its own arrival allowed: no need to leave the worker.
            self.resumed(entry.trial_id)
            return Action.CONTINUE
        if self.halting:
            entry.launched = False
            return Action.PAUSE
        return decision.action

    def _settle(self) -> None:
        """Ask the engine about paused trials and queue what it says; then list what follows the search."""
        if self.halting:
            return
        self._settle_search()
        self._list_repeats()

    def _settle_search(self) -> None:
        busy = sum(entry.in_search or entry.role.asked for entry in self.running)
        runnable = len(self.queues.fresh) + len(self.queues.promoted)
        if not self._known_upfront and not self._source_dry:
            runnable += max(0, self._planned - self._state.proposed)
        decisions = self.engine.settle(max(0, self._slots - busy), runnable)
        if not decisions:
            return
        records = [DecisionRecord(decision=decision) for decision in decisions]
        self._journal.append(*records)
        for record in records:
            entry, decision = self.trials[record.decision.trial_id], record.decision
            self._state.take(record)
            self._tracker.log_decision(decision)
            if decision.action is Action.CONTINUE:
                self.queues.promoted.append(decision.trial_id)
            else:
                self.queues.condemned.append(decision.trial_id)
                self._state.end(entry)
