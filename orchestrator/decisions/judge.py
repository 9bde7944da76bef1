"""From verdicts to decisions: asks the rungs, then the early-dynamics rule, and writes reason and evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.decisions import early_dynamics, reasons
from orchestrator.decisions.cohort import RungSystem, Verdict
from orchestrator.decisions.dynamics import EarlyDynamics
from orchestrator.decisions.early_dynamics import Finding, Peer
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.policy import StoppingPolicy
from orchestrator.decisions.rungs import Entry
from orchestrator.decisions.trials import TrialProgress
from orchestrator.records import Action, Decision

RUNGS = "rungs"


class Judge:
    """Judges waiting trials; reads trials and rungs, changes neither.

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

    def certain(self, system: RungSystem, rung: int) -> list[Decision]:
        """Return decisions that no later arrival can change, promotions first, best first."""
        verdicts = [verdict for verdict in system.certain(rung) if self._may_pass(system, rung, verdict)]
        return self._decisions(system, rung, verdicts)

    def on_arrival(self, system: RungSystem, rung: int, entry: Entry) -> Decision:
        """Return the decision on a trial that has just arrived; PAUSE unless it is certain already."""
        verdict = system.certain_for(rung, entry) or self._asynchronous(system, rung, entry)
        if verdict is not None and self._may_pass(system, rung, verdict):
            return self._decisions(system, rung, [verdict])[0]
        evidence = reasons.rung_evidence(system, rung, entry, self._objective)
        reason = reasons.pause_reason(system, rung, entry, self._objective)
        return self._decision(entry, system, Action.PAUSE, self._rule(system, rung), reason, evidence)

    def judge(self, system: RungSystem, rung: int, verdict: Verdict) -> Decision:
        """Return the decision that follows from one verdict, with the trials that have arrived so far."""
        return self._decisions(system, rung, [verdict])[0]

    def recorded(self, system: RungSystem, rung: int, entry: Entry) -> Decision:
        """Return the CONTINUE of a sweep that only records."""
        evidence = reasons.rung_evidence(system, rung, entry, self._objective)
        where = reasons.standing(system, rung, entry, self._objective)
        reason = f"Goes on: this sweep records and stops nothing; {where} so far."
        return self._decision(entry, system, Action.CONTINUE, "record", reason, evidence)

    # -- inside ----------------------------------------------------------------------------------

    def _asynchronous(self, system: RungSystem, rung: int, entry: Entry) -> Verdict | None:
        # Only the best that waits may take the slot it holds, so a better one is never overtaken.
        verdict = system.open_ended(rung)
        return verdict if verdict is not None and verdict.entry.trial_id == entry.trial_id else None

    def _may_pass(self, system: RungSystem, rung: int, verdict: Verdict) -> bool:
        """Hold promotions back until all peers of the early-dynamics rule have arrived (if anyone knows how many)."""
        waits_for_peers = self._judges_dynamics(system, rung) and verdict.basis in ("top", "quota")
        return not (verdict.promote and waits_for_peers and system.outstanding(rung) > 0)

    def _judges_dynamics(self, system: RungSystem, rung: int) -> bool:
        return system.rungs[rung].index == self._dynamics_milestone

    def _rule(self, system: RungSystem, rung: int) -> str:
        return early_dynamics.RULE if system.rungs[rung].reduction_factor is None else RUNGS

    def _decisions(self, system: RungSystem, rung: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        promoting = any(verdict.promote for verdict in verdicts)
        weak = self._weak(system, rung) if promoting and self._judges_dynamics(system, rung) else {}
        return [self._from_verdict(system, rung, verdict, weak.get(verdict.entry.trial_id)) for verdict in verdicts]

    def _weak(self, system: RungSystem, rung: int) -> dict[str, Finding]:
        here = system.rungs[rung]
        peers = [
            Peer(entry.trial_id, trial.facts.effective_batch_size, EarlyDynamics.from_dict(features), entry.key)
            for entry in here.entries.values()
            if (features := (trial := self._trials[entry.trial_id]).judged_dynamics)
        ]
        best = here.best()
        protected = system.quota_set(rung) | ({best.trial_id} if best is not None else set())
        return early_dynamics.weak_trials(self._policy.early_dynamics, peers, protected, self._objective.label)

    def _from_verdict(self, system: RungSystem, rung: int, verdict: Verdict, weak: Finding | None) -> Decision:
        entry = verdict.entry
        evidence = reasons.rung_evidence(system, rung, entry, self._objective)
        if verdict.promote and weak is not None:
            where = f"in cohort {system.name} {reasons.place(system.rungs[rung])}"
            facts = {"objective_value": evidence["value"], **{k: v for k, v in evidence.items() if k != "value"}}
            reason = f"Stopped {where}: {weak.reason}."
            return self._decision(entry, system, Action.STOP, early_dynamics.RULE, reason, {**facts, **weak.evidence})
        action = Action.CONTINUE if verdict.promote else Action.STOP
        reason = reasons.verdict_reason(system, rung, verdict, self._objective)
        rule = self._rule(system, rung)
        return self._decision(entry, system, action, rule, reason, {**evidence, "basis": verdict.basis})

    def _decision(
        self, entry: Entry, system: RungSystem, action: Action, rule: str, reason: str, evidence: reasons.Evidence
    ) -> Decision:
        samples_seen = self._trials[entry.trial_id].samples_seen
        return Decision(entry.trial_id, samples_seen, action, rule, system.name, reason, evidence)
