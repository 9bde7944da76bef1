"""The coordinator: one sweep's state in the driver, without Ray.

The scheduler and searcher adapters only translate between Ray Tune and the four questions answered here:
what to train next (`next_assignment`), what to do after a milestone (`report`), what to do when a trial's
process is lost for good (`fail`), and which paused trials go on or end (`promoted`, `condemned`).
Every answer is written to the journal before it takes effect, so that a driver that is killed at any
moment is rebuilt by `restore` into the same state.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.decisions.engine import StoppingEngine, TrialFacts
from orchestrator.records import Action, Decision, Milestone, Outcome, TrialConfig, TrialState
from orchestrator.spec.identity import trial_fingerprint
from orchestrator.tracking.tracker import Tracker, TrialInfo
from orchestrator.tuning.entries import TrialEntry
from orchestrator.tuning.journal import Journal
from orchestrator.tuning.reports import decision_from
from orchestrator.tuning.sources import ConfigSource

FAILURE_RULE = "failure"


@dataclass(frozen=True)
class Assignment:
    """A trial to be trained on, and how many of its milestones are known already."""

    trial_id: str
    config: TrialConfig
    known_milestones: int


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
    """

    def __init__(
        self,
        *,
        engine: StoppingEngine,
        source: ConfigSource,
        journal: Journal,
        tracker: Tracker,
        planned_trials: int,
        slots: int,
        cohort_of: Callable[[TrialConfig], str],
        name_of: Callable[[TrialConfig], str],
        trial_info: Callable[[str, str, TrialConfig], TrialInfo],
        known_upfront: bool,
        deadline: float | None = None,
    ) -> None:
        self.engine, self._source, self._journal, self._tracker = engine, source, journal, tracker
        self._planned, self._slots, self._cohort_of, self._name_of = planned_trials, slots, cohort_of, name_of
        self._trial_info, self._known_upfront, self._deadline = trial_info, known_upfront, deadline
        self.trials: dict[str, TrialEntry] = {}
        self._fresh: deque[str] = deque()
        self.promoted: deque[str] = deque()
        self.condemned: deque[str] = deque()
        self.stopping = False
        self._source_dry = False
        self.last_decision: Decision | None = None

    # -- restart ---------------------------------------------------------------------------------

    def restore(self) -> None:
        """Rebuild the state from the journal, then list the trials that are known up front."""
        for record in list(self._journal.records):
            handler = getattr(self, f"_replay_{record['kind']}", None)
            if handler is not None:
                handler(record)
        for entry in self.trials.values():
            if entry.outcome in (Outcome.RUNNING, Outcome.PENDING):
                entry.outcome = Outcome.PENDING
                self._fresh.append(entry.trial_id)
            if entry.outcome.is_final:
                # The kill may have fallen between journal and tracker; what the tracker knows it drops.
                self._end(entry)
        # Trials that had begun go first: their checkpoints are the cheapest samples there are.
        self._fresh = deque(sorted(self._fresh, key=lambda trial_id: -self.trials[trial_id].milestones))
        if self._known_upfront:
            while len(self.trials) < self._planned and self._propose() is not None:
                pass
            self.engine.close_arrivals()
        self._settle()

    def _replay_trial(self, record: Mapping[str, Any]) -> None:
        config = TrialConfig.from_dict(record["config"])
        self._add(record["trial"], config)
        self._source.tell(config, Outcome.PENDING)

    def _replay_milestone(self, record: Mapping[str, Any]) -> None:
        entry = self.trials[record["trial"]]
        entry.note_progress(record)
        decision = decision_from(record["decision"])
        assert decision is not None
        self.engine.restore_observation(
            entry.trial_id, record["index"], record["samples_seen"], record["scores"], record["dynamics"],
            TrialState(record["state"]), decision,
        )  # fmt: skip
        self._take(entry, decision, TrialState(record["state"]))
        self._tell_source(entry, record)

    def _replay_decision(self, record: Mapping[str, Any]) -> None:
        decision = decision_from(record["decision"])
        assert decision is not None
        entry = self.trials[decision.trial_id]
        self.engine.restore_decision(decision)
        self._tracker.log_decision(decision)
        self._settle_one(entry, decision)

    def _replay_failure(self, record: Mapping[str, Any]) -> None:
        entry = self.trials[record["trial"]]
        decision = decision_from(record["decision"])
        assert decision is not None
        entry.fail(decision)
        self.engine.mark_failed(entry.trial_id)
        self._tell_source(entry)

    # -- what Ray asks ---------------------------------------------------------------------------

    def next_assignment(self) -> Assignment | None:
        """Return a trial to start in this process, or None when there is none now."""
        if self.halting:
            return None
        promoted = next((trial_id for trial_id in self.promoted if not self.trials[trial_id].launched), None)
        if promoted is not None:
            self.promoted.remove(promoted)
            return self._assign(promoted)
        if not self._fresh and not self._known_upfront and len(self.trials) < self._planned:
            self._propose()
        return self._assign(self._fresh.popleft()) if self._fresh else None

    def report(self, milestone: Milestone, halted: Decision | None) -> Action:
        """Take a milestone and say what its trial does next; a milestone that is known already goes on."""
        entry = self.trials[milestone.trial_id]
        if milestone.index < entry.milestones:
            return Action.CONTINUE if not entry.outcome.is_final else Action.STOP
        dynamics = self.engine.dynamics_of(milestone.trial_id, milestone.signals, milestone.samples_seen)
        decision = self.engine.observe(
            milestone.trial_id, milestone.index, milestone.samples_seen, milestone.scores, dynamics, milestone.state, halted
        )  # fmt: skip
        record = {
            "trial": entry.trial_id, "index": milestone.index, "level": milestone.level, "state": milestone.state.value,
            "samples_seen": milestone.samples_seen, "tokens_seen": milestone.tokens_seen, "scores": dict(milestone.scores),
            "standard_errors": dict(milestone.standard_errors),
            "training_seconds": milestone.training_seconds, "evaluation_seconds": milestone.evaluation_seconds,
            "setup_seconds": milestone.setup_seconds, "checkpoint": milestone.checkpoint, "node": milestone.node,
            "last_signal": asdict(milestone.signals[-1]) if milestone.signals else None,
            "dynamics": dynamics, "decision": asdict(decision),
        }  # fmt: skip
        # Tracking first: its events carry keys and are dropped when repeated, while a milestone that the
        # journal holds is never told again.
        self._track_milestone(entry, milestone, decision)
        self._journal.append(("milestone", record))
        entry.note_progress(record)
        self._take(entry, decision, milestone.state)
        self._tell_source(entry, record)
        self._settle()
        return self._action_after(entry, decision)

    def fail(self, trial_id: str, reason: str) -> None:
        """A trial failed for good; the sweep goes on without it."""
        entry = self.trials[trial_id]
        if entry.outcome.is_final:
            return
        decision = Decision(trial_id, entry.samples_seen, Action.STOP, FAILURE_RULE, entry.cohort, reason)
        self._journal.append(("failure", {"trial": trial_id, "decision": asdict(decision)}))
        self.last_decision = decision
        entry.fail(decision)
        self.engine.mark_failed(trial_id)
        self._tell_source(entry)
        self._end(entry)
        self._settle()

    def save_and_halt(self, trial_id: str) -> None:
        """A worker cannot go on for a cause outside the trial (a full disk): end the session, resumable."""
        self.trials[trial_id].launched = False
        self.stopping = True

    def next_promoted(self) -> str | None:
        """Return a paused trial of this process that may go on, without removing it from the queue."""
        return next((trial_id for trial_id in self.promoted if self.trials[trial_id].launched), None)

    def resumed(self, trial_id: str) -> None:
        """A promoted trial runs again."""
        if trial_id in self.promoted:
            self.promoted.remove(trial_id)
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
        """Whether some trial could still be trained on."""
        return any(not entry.outcome.is_final for entry in self.trials.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do in this process."""
        if self.running:
            return False
        more = not self._source_dry and not self._known_upfront and len(self.trials) < self._planned
        return self.halting or (not self.open_trials and not more)

    # -- inside ----------------------------------------------------------------------------------

    def _propose(self) -> str | None:
        """Take the next new configuration from the source into the sweep."""
        for _ in range(1000):
            config = self._source.propose()
            if config is None:
                break
            trial_id = trial_fingerprint(config)
            if trial_id not in self.trials:
                self._journal.append(
                    ("trial", {"trial": trial_id, "name": self._name_of(config), "config": config.as_dict()})
                )
                self._add(trial_id, config)
                self._fresh.append(trial_id)
                return trial_id
        self._source_dry = True
        self.engine.close_arrivals()
        return None

    def _add(self, trial_id: str, config: TrialConfig) -> None:
        entry = TrialEntry(trial_id, self._name_of(config), config, self._cohort_of(config))
        self.trials[trial_id] = entry
        self.engine.add_trial(
            TrialFacts(
                trial_id=trial_id, cohort=entry.cohort, method=config.method, learning_rate=config.learning_rate,
                effective_batch_size=config.effective_batch_size, seed=config.seed, name=entry.name,
            )
        )  # fmt: skip
        if not self._known_upfront and len(self.trials) >= self._planned:
            self.engine.close_arrivals()

    def _assign(self, trial_id: str) -> Assignment:
        entry = self.trials[trial_id]
        entry.outcome, entry.launched = Outcome.RUNNING, True
        self._tracker.start_trial(self._trial_info(trial_id, entry.name, entry.config))
        return Assignment(trial_id, entry.config, entry.milestones)

    def _take(self, entry: TrialEntry, decision: Decision, state: TrialState) -> None:
        self.last_decision = decision
        entry.take(decision, state)

    def _settle_one(self, entry: TrialEntry, decision: Decision) -> None:
        self.last_decision = decision
        entry.settle(decision)
        self._tell_source(entry)

    def _action_after(self, entry: TrialEntry, decision: Decision) -> Action:
        """Translate the entry's state to what Ray does with the worker now."""
        if entry.outcome.is_final:
            self._end(entry)
            if entry.trial_id in self.condemned:
                self.condemned.remove(entry.trial_id)
            return Action.STOP
        if entry.trial_id in self.promoted and not self.halting:
            # Promoted by the very settling that its own arrival allowed: no need to leave the worker.
            self.resumed(entry.trial_id)
            return Action.CONTINUE
        if self.halting:
            entry.launched = False
            return Action.PAUSE
        return decision.action

    def _settle(self) -> None:
        """Ask the engine about paused trials and queue what it says."""
        if self.halting:
            return
        busy = len(self.running)
        runnable = len(self._fresh) + len(self.promoted)
        if not self._known_upfront and not self._source_dry:
            runnable += max(0, self._planned - len(self.trials))
        decisions = self.engine.settle(max(0, self._slots - busy), runnable)
        if not decisions:
            return
        self._journal.append(*(("decision", {"decision": asdict(decision)}) for decision in decisions))
        for decision in decisions:
            entry = self.trials[decision.trial_id]
            self._settle_one(entry, decision)
            self._tracker.log_decision(decision)
            if decision.action is Action.CONTINUE:
                self.promoted.append(decision.trial_id)
            else:
                self.condemned.append(decision.trial_id)
                self._end(entry)

    def _end(self, entry: TrialEntry) -> None:
        failure = entry.verdict.reason if entry.outcome is Outcome.FAILED and entry.verdict else ""
        self._tracker.end_trial(
            entry.trial_id, entry.outcome, entry.samples_seen, decision=entry.verdict, failure=failure
        )

    def _tell_source(self, entry: TrialEntry, milestone: Mapping[str, Any] | None = None) -> None:
        """Tell the source how a trial stands, and its scores if it has reached a milestone."""
        if milestone is None:
            self._source.tell(entry.config, entry.outcome)
        else:
            self._source.tell(entry.config, entry.outcome, milestone["level"], milestone["scores"])

    def _track_milestone(self, entry: TrialEntry, milestone: Milestone, decision: Decision) -> None:
        self._tracker.log_signals(entry.trial_id, milestone.signals)
        if milestone.scores:
            self._tracker.log_scores(entry.trial_id, milestone.samples_seen, milestone.scores)
        self._tracker.log_system(entry.trial_id, milestone.samples_seen, milestone.node, milestone.system)
        self._tracker.log_decision(decision)
