"""From verdicts to decisions: asks the rungs, then the early-dynamics rule, and writes reason and evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.decisions.early_dynamics.features import EarlyDynamics
from orchestrator.decisions.engine import reasons
from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules import early_dynamics
from orchestrator.decisions.rules.early_dynamics import Finding, Peer, PeerGroups
from orchestrator.decisions.rungs.cohort import RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry
from orchestrator.decisions.trials import TrialProgress
from orchestrator.records import Action, Decision


class Judge:
    """Judges waiting trials; reads trials and rungs, changes neither; keeps the peers of the early-dynamics rule.

    Args:
        policy: The rules.
        levels: Milestones in samples seen.
        objective: What best means.
        trials: The engine's own trials, by id.
    """

    def __init__(
        self, policy: StoppingPolicy, levels: Sequence[int], objective: Objective, trials: Mapping[str, TrialProgress]
    ) -> None:
        self._policy, self._objective, self._trials = policy, objective, trials
        self._dynamics_milestone = policy.dynamics_milestone(levels)
        self._peers: dict[str, PeerGroups] = {}

    def note_arrival(self, system: RungSystem, rung: int, entry: Entry) -> None:
        """Take an arrival's early dynamics in where they are judged; must precede any decision on it."""
        trial = self._trials[entry.trial_id]
        system.note(trial, rung, entry.key)
        if self._judges_dynamics(system, rung):
            groups = self._peers.setdefault(system.name, PeerGroups(self._policy.early_dynamics))
            groups.remove(entry.trial_id)
            if trial.dynamics:
                dynamics = EarlyDynamics.from_dict(trial.dynamics)
                groups.add(Peer(entry.trial_id, trial.facts.effective_batch_size, dynamics, entry.key))

    def note_gone(self, system: RungSystem, trial_id: str) -> None:
        """Take out a trial that does not count any more."""
        system.drop(trial_id)
        if system.name in self._peers:
            self._peers[system.name].remove(trial_id)

    def certain(self, system: RungSystem, rung: int) -> list[Decision]:
        """Return decisions that no later arrival can change, promotions first, best first."""
        held_back = self._judges_dynamics(system, rung) and system.outstanding(rung) > 0
        return [self.judge(system, rung, verdict) for verdict in system.certain(rung, stops_only=held_back)]

    def on_arrival(self, system: RungSystem, rung: int, entry: Entry) -> Decision:
        """Return the decision on a trial that has just arrived; PAUSE unless it is certain already."""
        verdict = system.certain_for(rung, entry) or self._asynchronous(system, rung, entry)
        if verdict is not None and not self._waits_for_peers(system, rung, verdict):
            return self.judge(system, rung, verdict)
        evidence = reasons.rung_evidence(system, rung, entry, self._objective)
        reason = reasons.pause_reason(system, rung, entry, self._objective)
        return self._decision(entry, system, Action.PAUSE, self.rule(system, rung), reason, evidence)

    def judge(self, system: RungSystem, rung: int, verdict: Verdict) -> Decision:
        """Return the decision that follows from a verdict, once the early-dynamics rule has been asked too."""
        entry = verdict.entry
        evidence = self._evidence(system, rung, entry)
        weak = self._weakness(system, rung, entry) if verdict.promote else None
        if weak is not None:
            where = f"in cohort {system.name} {reasons.place(system.rungs[rung])}"
            facts = {"objective_value": evidence["value"], "objective_cut_off": evidence["cut_off"], **evidence}
            reason = f"Stopped {where}: {weak.reason}."
            return self._decision(entry, system, Action.STOP, early_dynamics.RULE, reason, {**facts, **weak.evidence})
        action = Action.CONTINUE if verdict.promote else Action.STOP
        reason = reasons.verdict_reason(system, rung, verdict, self._objective)
        rule = self.rule(system, rung)
        return self._decision(entry, system, action, rule, reason, {**evidence, "basis": verdict.basis})

    def recorded(self, system: RungSystem, rung: int, entry: Entry) -> Decision:
        """Return the CONTINUE of a sweep that only records."""
        evidence = reasons.rung_evidence(system, rung, entry, self._objective)
        where = reasons.standing(system, rung, entry, self._objective)
        reason = f"Goes on: this sweep records and stops nothing; {where} so far."
        return self._decision(entry, system, Action.CONTINUE, "record", reason, evidence)

    def rule(self, system: RungSystem, rung: int) -> str:
        """Return the name of the rule that answers for a rung."""
        return system.rule_at(rung) or early_dynamics.RULE

    # -- inside ----------------------------------------------------------------------------------

    def _asynchronous(self, system: RungSystem, rung: int, entry: Entry) -> Verdict | None:
        # Only the best that waits may take the slot it holds, so a better one is never overtaken.
        verdict = system.open_ended(rung)
        return verdict if verdict is not None and verdict.entry.trial_id == entry.trial_id else None

    def _waits_for_peers(self, system: RungSystem, rung: int, verdict: Verdict) -> bool:
        # Where it is known how many come, the early-dynamics rule judges with all of them, whatever their order.
        known = verdict.promote and verdict.basis in ("top", "quota")
        return known and self._judges_dynamics(system, rung) and system.outstanding(rung) > 0

    def _judges_dynamics(self, system: RungSystem, rung: int) -> bool:
        return system.rungs[rung].index == self._dynamics_milestone

    def _evidence(self, system: RungSystem, rung: int, entry: Entry) -> reasons.Evidence:
        evidence = reasons.rung_evidence(system, rung, entry, self._objective)
        return {**evidence, **reasons.forecast_evidence(system, rung, entry, self._objective)}

    def _weakness(self, system: RungSystem, rung: int, entry: Entry) -> Finding | None:
        if not self._judges_dynamics(system, rung):
            return None
        found = self._peers[system.name].weakness(entry.trial_id, self._objective.label)
        if found is None or system.rungs[rung].rank(entry) == 1 or system.kept_by_quota(rung, entry):
            return None
        return found

    def _decision(
        self, entry: Entry, system: RungSystem, action: Action, rule: str, reason: str, evidence: reasons.Evidence
    ) -> Decision:
        samples_seen = self._trials[entry.trial_id].samples_seen
        return Decision(entry.trial_id, samples_seen, action, rule, system.name, reason, evidence)
