"""The stopping engine: facts in, decisions out; a deterministic fold over events, without clock or randomness.

Drive it like this: `add_trial` for every trial (`expect` or `close_arrivals` say how many come), `observe` at
every milestone, `settle` whenever something has changed. `observe` answers CONTINUE, PAUSE or STOP;
`settle` answers for trials that pause. The same events in the same order give the same decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.decisions.early_dynamics.features import DynamicsTracker
from orchestrator.decisions.engine.judge import Judge, Settlement
from orchestrator.decisions.engine.policy import StoppingPolicy, judged_milestones
from orchestrator.decisions.final.winner import Candidate, Selection, select_winner
from orchestrator.decisions.objective import WORST, Key
from orchestrator.decisions.rules.divergence import RULE as DIVERGENCE
from orchestrator.decisions.rules.rule import SweepOutline
from orchestrator.decisions.rungs.cohort import RungSystem
from orchestrator.decisions.rungs.rung import DIVERGED, FAILED
from orchestrator.decisions.trials import (
    Answer,
    Dynamics,
    ObservedMilestone,
    ReachedMilestone,
    TrialFacts,
    TrialProgress,
)
from orchestrator.records import Action, Decision, Milestone, Outcome, Scalar, TrainingSignal, TrialState

__all__ = ["StoppingEngine", "StoppingPolicy", "SweepOutline", "TrialFacts"]


class StoppingEngine:
    """Decides for one sweep.

    Args:
        policy: The rules.
        sweep: What rules may know of it.

    Raises:
        ValueError: If sweep and policy do not fit together.
    """

    def __init__(self, policy: StoppingPolicy, sweep: SweepOutline) -> None:
        self.policy, self.sweep = policy, sweep
        self.levels, self.objective = sweep.levels, sweep.objective
        self._comparison, rules = policy.comparison(sweep), policy.begin(sweep)
        self._judged = judged_milestones(sweep, self._comparison, rules)
        self._position = {index: position for position, (index, _, _) in enumerate(self._judged)}
        # One window for all milestones, no longer than the signals between any two of them.
        levels = self.levels
        self.window_samples = min(later - earlier for earlier, later in zip((0, *levels), levels, strict=False))
        self.trials: dict[str, TrialProgress] = {}
        self._judge = Judge(self._comparison, rules, self.objective, self.trials)
        self.decisions: list[Decision] = []
        self._cohorts: dict[str, RungSystem] = {}
        self._changed: dict[str, None] = {}
        self._all_closed = False

    @property
    def compares(self) -> bool:
        """Whether trials are compared at milestones, and some go on."""
        return bool(self._comparison.factors) and not self.policy.record

    # -- events ----------------------------------------------------------------------------------

    def add_trial(self, facts: TrialFacts) -> None:
        """Announce a trial. Adding it again changes nothing, except that a failed trial takes part again.

        Raises:
            ValueError: If a trial of this id with other facts is known.
        """
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
        self._system(cohort).expected = trials

    def close_arrivals(self, cohort: str | None = None) -> None:
        """Say that no new trial will be added, to one cohort or to any."""
        self._all_closed = self._all_closed or cohort is None
        for name in list(self._cohorts) if cohort is None else [cohort]:
            self._system(name).closed = True

    def observe(self, milestone: Milestone, halted: Decision | None = None) -> Answer:
        """Take a milestone and decide.

        Args:
            milestone: Of a trial that was added; its signals are those since the milestone before.
            halted: The decision that halted the trial inside the worker, if any.

        Raises:
            SpecError: If a judged trial lacks a metric of the objective; nothing has changed then.
            ValueError: If the trial or the milestone is unknown.
        """
        dynamics = self.dynamics_of(milestone.trial_id, milestone.signals, milestone.samples_seen)
        return Answer(self._take(milestone, dynamics, halted, None), dynamics)

    def restore_observation(self, observed: ObservedMilestone) -> None:
        """Take a milestone whose decision was made before (a journal's); the decision stands as it was."""
        self._take(observed, observed.answer.dynamics, None, observed.answer.decision)

    def restore_decision(self, decision: Decision) -> None:
        """Take a decision that `settle` made before (a journal's)."""
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
        self.decisions.extend(made)
        return made

    def _order(self, decision: Decision) -> tuple[bool, int]:
        return (decision.action is not Action.CONTINUE, -self.trials[decision.trial_id].milestone)

    def mark_failed(self, trial_id: str) -> None:
        """A trial failed for good; it counts as arrived and ranks last where it was heading."""
        trial = self._trial(trial_id)
        if not trial.outcome.is_final:
            trial.outcome = Outcome.FAILED
            system = self._system(trial.facts.cohort)
            system.end(trial_id, FAILED)
            self._judge.note_gone(system, trial_id)

    def forget(self, trial_id: str) -> None:
        """Remove a trial as if it had never been announced; its decisions stay in `decisions`."""
        system = self._system(self._trial(trial_id).facts.cohort)
        system.forget(trial_id)
        self._judge.note_gone(system, trial_id)
        del self.trials[trial_id]

    # -- questions -------------------------------------------------------------------------------

    def dynamics_of(self, trial_id: str, signals: Sequence[TrainingSignal], samples_seen: int) -> Dynamics:
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

    # -- inside: one milestone ---------------------------------------------------------------------

    def _take(
        self, reached: ReachedMilestone, dynamics: Dynamics, halted: Decision | None, given: Decision | None
    ) -> Decision:
        trial, index, state = self._trial(reached.trial_id), reached.index, reached.state
        if not 0 <= index < len(self.levels):
            raise ValueError(f"trial {reached.trial_id}: milestone {index} is not one of 0 to {len(self.levels) - 1}")
        if state is TrialState.RUNNING and index == len(self.levels) - 1:
            state = TrialState.COMPLETED
        key = self._key(reached.scores, state, index)
        if trial.outcome is Outcome.FAILED:
            self._revive(trial)
        if trial.outcome.is_final and trial.last is not None:
            return trial.last  # a repeated report of a trial that has ended
        self._note_progress(trial, reached, dynamics)
        decision = self._decide(trial, key, state, halted, given)
        self._apply(trial, decision)
        self.decisions.append(decision)
        return decision

    def _key(self, scores: Mapping[str, float], state: TrialState, index: int) -> Key:
        if state is TrialState.DIVERGED:
            return WORST
        final = state is TrialState.COMPLETED
        return self.objective.key(scores, partial=not final) if final or index in self._position else WORST

    def _note_progress(self, trial: TrialProgress, reached: ReachedMilestone, dynamics: Dynamics) -> None:
        # What a milestone does not tell stays as it was.
        trial.milestone, trial.samples_seen = reached.index, reached.samples_seen
        trial.scores = dict(reached.scores) or trial.scores
        trial.dynamics = dynamics or trial.dynamics

    def _decide(
        self, trial: TrialProgress, key: Key, state: TrialState, halted: Decision | None, given: Decision | None
    ) -> Decision:
        """Bring the rungs up to date and return the decision, the given one if there is one."""
        trial_id, system, index = trial.facts.trial_id, self._system(trial.facts.cohort), trial.milestone
        if state is TrialState.DIVERGED:
            trial.outcome = Outcome.DIVERGED
            system.end(trial_id, DIVERGED)
            return given or self._divergence(trial, halted)
        if state is TrialState.COMPLETED:
            trial.outcome = Outcome.COMPLETED
            system.complete(trial_id)
            if index == len(self.levels) - 1:
                system.finish(trial_id, key)
            return given or self._plain(trial, "budget", f"Completed: trained its whole budget; {self._score(key)}.")
        position = self._position.get(index)
        if position is None:
            reason = f"Goes on: no rule compares trials at milestone {index + 1} of {len(self.levels)}."
            return given or self._plain(trial, "milestone", reason)
        if position < system.seats[trial_id].rung:
            reason = f"Goes on: already promoted from milestone {index + 1}."
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
            self._cohorts[cohort] = self._comparison.system(cohort, self._judged)
            self._cohorts[cohort].closed = self._all_closed
        self._changed[cohort] = None
        return self._cohorts[cohort]
