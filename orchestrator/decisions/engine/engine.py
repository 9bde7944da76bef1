"""The stopping engine: facts in, decisions out; a deterministic fold over events, without clock or randomness.

Drive it like this: `add_trial` for every trial (`expect` or `close_arrivals` say how many come), `observe` at
every milestone, `settle` whenever something has changed. `observe` answers CONTINUE, PAUSE or STOP;
`settle` answers for trials that pause. The same events in the same order give the same decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.decisions.early_dynamics.features import DynamicsTracker, EarlyDynamics
from orchestrator.decisions.engine.decide import Judge
from orchestrator.decisions.engine.events import Event, arguments, plain
from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.engine.settle import Settlement
from orchestrator.decisions.final.winner import Candidate, Selection, select_winner
from orchestrator.decisions.forecast.cohort import ForecastBook, ForecastSystem
from orchestrator.decisions.objective import WORST, Key, Objective
from orchestrator.decisions.rules.divergence import RULE as DIVERGENCE
from orchestrator.decisions.rungs.cohort import DIVERGED, FAILED, RungSystem
from orchestrator.decisions.trials import Dynamics, TrialFacts, TrialProgress
from orchestrator.records import Action, Decision, Outcome, Scalar, TrainingSignal, TrialState

__all__ = ["StoppingEngine", "StoppingPolicy", "TrialFacts"]

QUOTA_SHARE = 0.125
"""Under a forecast the quota per method holds up to this share of the budget; by then a method's curve speaks for itself."""

GivenDynamics = Dynamics | EarlyDynamics | Sequence[TrainingSignal] | None


class StoppingEngine:
    """Decides for one sweep.

    Args:
        policy: The rules.
        levels: Milestones in samples seen, rising; the last is the whole budget.
        objective: What best means.

    Raises:
        ValueError: If levels and policy do not fit together.
    """

    def __init__(self, policy: StoppingPolicy, levels: Sequence[int], objective: Objective) -> None:
        self.policy, self.levels, self.objective = policy, tuple(levels), objective
        self._judged = policy.judged(levels)
        self._position = {index: position for position, (index, _, _) in enumerate(self._judged)}
        # One window for all milestones, no longer than the signals between any two of them.
        self.window_samples = min(later - earlier for earlier, later in zip((0, *levels), levels, strict=False))
        self.trials: dict[str, TrialProgress] = {}
        self._judge = Judge(policy, levels, objective, self.trials)
        self.decisions: list[Decision] = []
        self.events: list[Event] = []
        self._cohorts: dict[str, RungSystem] = {}
        self._changed: dict[str, None] = {}
        self._all_closed = False

    # -- events ----------------------------------------------------------------------------------

    def add_trial(self, facts: TrialFacts) -> None:
        """Announce a trial. Adding it again changes nothing, except that a failed trial takes part again.

        Raises:
            ValueError: If a trial of this id with other facts is known.
        """
        self._log("add_trial", facts=facts)
        known = self.trials.get(facts.trial_id)
        if known is None:
            self.trials[facts.trial_id] = TrialProgress(facts)
            self._system(facts.cohort).add(facts.trial_id, facts.method, facts.learning_rate)
        elif known.facts != facts:
            raise ValueError(f"trial {facts.trial_id} is known with other facts: {known.facts}, now {facts}")
        elif known.outcome is Outcome.FAILED:
            self._revive(known)

    def expect(self, cohort: str, trials: int) -> None:
        """Say how many trials the cohort will have in all; until then (or `close_arrivals`) it is open-ended."""
        self._log("expect", cohort=cohort, trials=trials)
        self._system(cohort).expected = trials

    def close_arrivals(self, cohort: str | None = None) -> None:
        """Say that no new trial will be added, to one cohort or to any."""
        self._log("close_arrivals", cohort=cohort)
        self._all_closed = self._all_closed or cohort is None
        for name in list(self._cohorts) if cohort is None else [cohort]:
            self._system(name).closed = True

    def observe(
        self,
        trial_id: str,
        level_index: int,
        samples_seen: int,
        scores: Mapping[str, float],
        dynamics: GivenDynamics = None,
        state: TrialState = TrialState.RUNNING,
        halted: Decision | None = None,
    ) -> Decision:
        """Take a milestone and decide.

        Args:
            trial_id: A trial that was added.
            level_index: Milestone, an index into ``levels``.
            samples_seen: Samples seen; may exceed the level by less than an effective batch.
            scores: Metric -> value; may be empty when the trial diverged.
            dynamics: What `dynamics_of` returned, features, the signals since the last milestone, or None.
            state: Where the trial stands.
            halted: The decision that halted it inside the worker, if any.

        Raises:
            SpecError: If a judged trial lacks a metric of the objective; nothing has changed then.
            ValueError: If the trial or the milestone is unknown.
        """
        return self._observe(trial_id, level_index, samples_seen, scores, dynamics, state, halted, None)

    def restore_observation(
        self,
        trial_id: str,
        level_index: int,
        samples_seen: int,
        scores: Mapping[str, float],
        dynamics: GivenDynamics,
        state: TrialState,
        decision: Decision,
    ) -> Decision:
        """Take a milestone whose decision was made before (a journal's); the decision stands as it was."""
        return self._observe(trial_id, level_index, samples_seen, scores, dynamics, state, None, decision)

    def restore_decision(self, decision: Decision) -> None:
        """Take a decision that `settle` made before (a journal's)."""
        self._log("restore_decision", decision=decision)
        self._apply(self._trial(decision.trial_id), decision)
        self.decisions.append(decision)

    def settle(self, idle_slots: int, runnable: int) -> list[Decision]:
        """Decide for trials that pause: promotions first (highest rung first, best first), then stops.

        Args:
            idle_slots: Worker slots that nobody uses now.
            runnable: Trials that could use a slot without a decision (new, proposed on demand, promoted before).
        """
        if self.policy.record:
            return []
        settlement = Settlement(self._judge, lambda decision: self._apply(self._trial(decision.trial_id), decision))
        settlement.certain([self._cohorts[name] for name in self._changed])
        self._changed.clear()
        settlement.open_ended(self._cohorts, idle_slots)
        settlement.idle(self._cohorts, idle_slots - runnable)
        if idle_slots > 0 and runnable == 0 and not any(system.training for system in self._cohorts.values()):
            settlement.stalled(self._cohorts)
        made = sorted(settlement.decisions, key=self._order)
        if made:
            self._log("settle", idle_slots=idle_slots, runnable=runnable)
            self.decisions.extend(made)
        return made

    def _order(self, decision: Decision) -> tuple[bool, int]:
        return (decision.action is not Action.CONTINUE, -self.trials[decision.trial_id].milestone)

    def mark_failed(self, trial_id: str) -> None:
        """A trial failed for good; it counts as arrived and ranks last where it was heading."""
        self._log("mark_failed", trial_id=trial_id)
        trial = self._trial(trial_id)
        if not trial.outcome.is_final:
            trial.outcome = Outcome.FAILED
            system = self._system(trial.facts.cohort)
            system.end(trial_id, FAILED)
            self._judge.note_gone(system, trial_id)

    def forget(self, trial_id: str) -> None:
        """Remove a trial as if it had never been announced; its decisions stay in `decisions`."""
        self._log("forget", trial_id=trial_id)
        system = self._system(self._trial(trial_id).facts.cohort)
        system.forget(trial_id)
        self._judge.note_gone(system, trial_id)
        del self.trials[trial_id]

    # -- questions -------------------------------------------------------------------------------

    def dynamics_of(self, trial_id: str, signals: Sequence[TrainingSignal], samples_seen: int) -> dict[str, Any]:
        """Return a trial's features and running state up to ``samples_seen``, JSON-able; changes nothing.

        Args:
            trial_id: A trial that was added.
            signals: Signals since its last observed milestone; without any the last features are returned.
            samples_seen: Later signals are not looked at.
        """
        trial = self._trial(trial_id)
        earlier = trial.dynamics.get("tracker")
        tracker = DynamicsTracker.from_state(earlier) if earlier else DynamicsTracker(self.window_samples)
        fresh = [signal for signal in signals if tracker.samples_seen < signal.samples_seen <= samples_seen]
        if not fresh:
            return dict(trial.dynamics)
        tracker.update(fresh)
        return {**tracker.snapshot().as_dict(), "tracker": tracker.state_dict()}

    def outcome(self, trial_id: str) -> Outcome:
        """Return how a trial stands."""
        return self._trial(trial_id).outcome

    def winner(self) -> Selection | None:
        """Return the final ranking: completed trials, or those at the deepest milestone when none completed."""
        dead = {Outcome.DIVERGED, Outcome.FAILED}
        seen = [trial for trial in self.trials.values() if trial.milestone >= 0 and trial.outcome not in dead]
        done = [trial for trial in seen if trial.outcome is Outcome.COMPLETED]
        deepest = max((trial.milestone for trial in done or seen), default=-1)
        return select_winner(
            (
                Candidate(trial.facts.trial_id, self.levels[trial.milestone], trial.scores)
                for trial in done or seen
                if trial.milestone == deepest
            ),
            self.objective,
        )

    @classmethod
    def replay(
        cls, policy: StoppingPolicy, levels: Sequence[int], objective: Objective, events: Iterable[Mapping[str, Any]]
    ) -> StoppingEngine:
        """Return the engine that ``events`` (another engine's `events`, or their JSON) lead to."""
        engine = cls(policy, levels, objective)
        for event in events:
            getattr(engine, event["event"])(**arguments(event))
        return engine

    # -- inside: one milestone ---------------------------------------------------------------------

    def _observe(
        self,
        trial_id: str,
        level_index: int,
        samples_seen: int,
        scores: Mapping[str, float],
        dynamics: GivenDynamics,
        state: TrialState,
        halted: Decision | None,
        given: Decision | None,
    ) -> Decision:
        trial = self._trial(trial_id)
        if not 0 <= level_index < len(self.levels):
            raise ValueError(f"trial {trial_id}: milestone {level_index} is not one of 0 to {len(self.levels) - 1}")
        if state is TrialState.RUNNING and level_index == len(self.levels) - 1:
            state = TrialState.COMPLETED
        key = self._key(scores, state, level_index)
        features = self._features(trial, dynamics, samples_seen)
        source = {"halted": halted} if given is None else {"decision": given}
        self._log(
            "observe" if given is None else "restore_observation",
            trial_id=trial_id,
            level_index=level_index,
            samples_seen=samples_seen,
            scores=scores,
            dynamics=features,
            state=state,
            **source,
        )
        if trial.outcome is Outcome.FAILED:
            self._revive(trial)
        if trial.outcome.is_final and trial.last is not None:
            return trial.last  # a repeated report of a trial that has ended
        self._take_in(trial, level_index, samples_seen, scores, features)
        decision = self._decide(trial, level_index, key, state, halted, given)
        self._apply(trial, decision)
        self.decisions.append(decision)
        return decision

    def _key(self, scores: Mapping[str, float], state: TrialState, level_index: int) -> Key:
        if state is TrialState.DIVERGED:
            return WORST
        final = state is TrialState.COMPLETED
        return self.objective.key(scores, partial=not final) if final or level_index in self._position else WORST

    def _features(self, trial: TrialProgress, given: GivenDynamics, samples_seen: int) -> Dynamics:
        if given is None:
            return {}
        if isinstance(given, EarlyDynamics):
            return given.as_dict()
        return given if isinstance(given, Mapping) else self.dynamics_of(trial.facts.trial_id, given, samples_seen)

    def _take_in(
        self, trial: TrialProgress, level_index: int, samples_seen: int, scores: Mapping[str, float], features: Dynamics
    ) -> None:
        trial.milestone, trial.samples_seen = level_index, samples_seen
        trial.scores = dict(scores) or trial.scores
        if features:
            trial.dynamics = features

    def _decide(
        self,
        trial: TrialProgress,
        level_index: int,
        key: Key,
        state: TrialState,
        halted: Decision | None,
        given: Decision | None,
    ) -> Decision:
        """Bring the rungs up to date and return the decision, the given one if there is one."""
        trial_id, system = trial.facts.trial_id, self._system(trial.facts.cohort)
        if state is TrialState.DIVERGED:
            trial.outcome = Outcome.DIVERGED
            system.end(trial_id, DIVERGED)
            return given or self._divergence(trial, halted)
        if state is TrialState.COMPLETED:
            trial.outcome = Outcome.COMPLETED
            system.complete(trial_id)
            if level_index == len(self.levels) - 1:
                system.finish(trial_id, key)
            return given or self._plain(trial, "budget", f"Completed: trained its whole budget; {self._score(key)}.")
        position = self._position.get(level_index)
        if position is None:
            reason = f"Goes on: no rule compares trials at milestone {level_index + 1} of {len(self.levels)}."
            return given or self._plain(trial, "milestone", reason)
        if position < system.seats[trial_id].rung:
            reason = f"Goes on: already promoted from milestone {level_index + 1}."
            return given or self._plain(trial, self._judge.rule(system, position), reason)
        entry = system.arrive(trial_id, position, key)
        self._judge.note_arrival(system, position, entry)
        if given is not None:
            return given
        if self.policy.record:
            return self._judge.recorded(system, position, entry)
        return self._judge.on_arrival(system, position, entry)

    def _apply(self, trial: TrialProgress, decision: Decision) -> None:
        """Bring trial and rungs into the state that a decision leaves them in."""
        trial.last = decision
        if trial.outcome.is_final:
            return
        system, trial_id = self._system(trial.facts.cohort), trial.facts.trial_id
        if decision.action is Action.PAUSE:
            trial.outcome = Outcome.PAUSED
            return
        stop = decision.action is Action.STOP
        trial.outcome = Outcome.STOPPED if stop else Outcome.RUNNING
        if system.seats[trial_id].waiting:
            system.settle(trial_id, promote=not stop)
        elif stop:
            system.complete(trial_id)

    def _divergence(self, trial: TrialProgress, halted: Decision | None) -> Decision:
        if halted is not None:
            return replace(halted, cohort=trial.facts.cohort)
        reason = f"Diverged before {trial.samples_seen:,} samples; the worker gave no details."
        return self._plain(trial, DIVERGENCE, reason, Action.STOP)

    def _plain(self, trial: TrialProgress, rule: str, reason: str, action: Action = Action.CONTINUE) -> Decision:
        evidence: dict[str, Scalar] = {"milestone": trial.milestone, "level": self.levels[trial.milestone]}
        for name in self.objective.weights:
            if name in trial.scores:
                evidence[name] = trial.scores[name]
        facts = trial.facts
        return Decision(facts.trial_id, trial.samples_seen, action, rule, facts.cohort, reason, evidence)

    def _score(self, key: Key) -> str:
        shown = "is not a finite number" if key == WORST else f"{self.objective.value_of(key):.4g}"
        return f"{self.objective.label} {shown}"

    # -- inside: state ---------------------------------------------------------------------------

    def _revive(self, trial: TrialProgress) -> None:
        trial.outcome = Outcome.PENDING
        self._system(trial.facts.cohort).revive(trial.facts.trial_id)

    def _trial(self, trial_id: str) -> TrialProgress:
        if trial_id not in self.trials:
            raise ValueError(f"trial {trial_id!r} is unknown; {len(self.trials)} trials have been added")
        return self.trials[trial_id]

    def _system(self, cohort: str) -> RungSystem:
        """Return a cohort's rungs, to be changed: its certain verdicts are looked at in the next `settle`."""
        if cohort not in self._cohorts:
            self._cohorts[cohort] = self._new_system(cohort)
            self._cohorts[cohort].closed = self._all_closed
        self._changed[cohort] = None
        return self._cohorts[cohort]

    def _new_system(self, cohort: str) -> RungSystem:
        rungs = self.policy.rungs
        quota = rungs.quota_per_method if rungs.enabled else 0
        if not (rungs.enabled and self.policy.forecast.enabled):
            return RungSystem(cohort, self._judged, quota)
        early = sum(level <= QUOTA_SHARE * self.levels[-1] for _, level, _ in self._judged)
        book = ForecastBook(self.policy.forecast, [level for _, level, _ in self._judged], self.levels[-1])
        return ForecastSystem(cohort, self._judged, quota, early, book)

    def _log(self, event: str, **values: Any) -> None:
        self.events.append(plain(event, **values))
