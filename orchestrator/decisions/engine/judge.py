"""From verdicts to decisions: asks the comparison, then the further rules; and which paused trials go on or end now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.decisions.early_dynamics.features import EarlyDynamics
from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules.rule import Case, Comparison, Finding, Judging, Standing
from orchestrator.decisions.rungs.cohort import Evidence, RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry
from orchestrator.decisions.trials import TrialProgress
from orchestrator.records import Action, Decision


class Judge:
    """Judges waiting trials; reads trials and rungs, changes neither.

    Args:
        comparison: What compares trials.
        rules: The rules that may stop a trial which the comparison lets pass, in the order they are asked.
        objective: What best means.
        trials: The engine's own trials, by id.
    """

    def __init__(
        self,
        comparison: Comparison,
        rules: Sequence[Judging],
        objective: Objective,
        trials: Mapping[str, TrialProgress],
    ) -> None:
        self._comparison, self._rules, self._objective, self._trials = comparison, rules, objective, trials

    def note_arrival(self, system: RungSystem, rung: int, entry: Entry) -> None:
        """Let the rules hear of an arrival; must precede any decision on it."""
        system.note(self._trials[entry.trial_id], rung, entry.key)
        for rule in self._judging(system, rung):
            rule.arrive(self._standing(system, rung, entry))

    def note_gone(self, system: RungSystem, trial_id: str) -> None:
        """Take out a trial that does not count any more."""
        system.drop(trial_id)
        for rule in self._rules:
            rule.leave(system.name, trial_id)

    def certain(self, system: RungSystem, rung: int) -> list[Decision]:
        """Return decisions that no later arrival can change, promotions first, best first."""
        held_back = bool(self._judging(system, rung)) and system.outstanding(rung) > 0
        return [self.judge(system, rung, verdict) for verdict in system.certain(rung, stops_only=held_back)]

    def on_arrival(self, system: RungSystem, rung: int, entry: Entry) -> Decision:
        """Return the decision on a trial that has just arrived; PAUSE unless it is certain already."""
        verdict = system.certain_for(rung, entry) or self._asynchronous(system, rung, entry)
        if verdict is not None and not self._waits_for_peers(system, rung, verdict):
            return self.judge(system, rung, verdict)
        evidence = system.evidence(rung, entry, self._objective)
        reason = system.pause_reason(rung, entry, self._objective)
        return self._decision(entry, system, Action.PAUSE, self.rule(system, rung), reason, evidence)

    def judge(self, system: RungSystem, rung: int, verdict: Verdict) -> Decision:
        """Return the decision that follows from a verdict, once the further rules have been asked too."""
        entry = verdict.entry
        evidence = self._comparison.evidence(system, rung, entry, self._objective)
        for rule in self._judging(system, rung) if verdict.promote else ():
            found = rule.judge(Case(self._standing(system, rung, entry), system, rung, entry))
            if found is not None:
                return self._stopped(system, rung, entry, rule.name, found, evidence)
        action = Action.CONTINUE if verdict.promote else Action.STOP
        reason = self._comparison.reason(system, rung, verdict, self._objective)
        name = self.rule(system, rung)
        return self._decision(entry, system, action, name, reason, {**evidence, "basis": verdict.basis})

    def recorded(self, system: RungSystem, rung: int, entry: Entry) -> Decision:
        """Return the CONTINUE of a sweep that only records."""
        evidence = system.evidence(rung, entry, self._objective)
        where = system.standing(rung, entry, self._objective)
        reason = f"Goes on: this sweep records and stops nothing; {where} so far."
        return self._decision(entry, system, Action.CONTINUE, "record", reason, evidence)

    def rule(self, system: RungSystem, rung: int) -> str:
        """Return the name of the rule that answers for a rung: the comparison's, else the first that judges there."""
        return system.rule_at(rung) or self._judging(system, rung)[0].name

    # -- inside ----------------------------------------------------------------------------------

    def _asynchronous(self, system: RungSystem, rung: int, entry: Entry) -> Verdict | None:
        # Only the best that waits may take the slot it holds, so a better one is never overtaken.
        verdict = system.open_ended(rung)
        return verdict if verdict is not None and verdict.entry.trial_id == entry.trial_id else None

    def _waits_for_peers(self, system: RungSystem, rung: int, verdict: Verdict) -> bool:
        # Where it is known how many come, further rules judge with all of them, whatever their order.
        known = verdict.promote and verdict.basis in ("top", "quota")
        return known and bool(self._judging(system, rung)) and system.outstanding(rung) > 0

    def _judging(self, system: RungSystem, rung: int) -> list[Judging]:
        """Return the further rules that judge at a rung."""
        index = system.rungs[rung].index
        return [rule for rule in self._rules if index in rule.milestones]

    def _standing(self, system: RungSystem, rung: int, entry: Entry) -> Standing:
        trial, here = self._trials[entry.trial_id], system.rungs[rung]
        dynamics = EarlyDynamics.from_dict(trial.dynamics) if trial.dynamics else None
        return Standing(trial.facts, here.index, here.level, trial.samples_seen, trial.scores, dynamics, entry.key)

    def _stopped(
        self, system: RungSystem, rung: int, entry: Entry, rule: str, found: Finding, evidence: Evidence
    ) -> Decision:
        where = f"in cohort {system.name} {system.rungs[rung].where}"
        facts = {"objective_value": evidence["value"], "objective_cut_off": evidence["cut_off"], **evidence}
        reason = f"Stopped {where}: {found.reason}."
        return self._decision(entry, system, Action.STOP, rule, reason, {**facts, **found.evidence})

    def _decision(
        self, entry: Entry, system: RungSystem, action: Action, rule: str, reason: str, evidence: Evidence
    ) -> Decision:
        samples_seen = self._trials[entry.trial_id].samples_seen
        return Decision(entry.trial_id, samples_seen, action, rule, system.name, reason, evidence)


class Settlement:
    """One call of `StoppingEngine.settle`: decisions are applied one by one, since each may free the next.

    Args:
        judge: Turns verdicts into decisions.
        apply: Brings the engine into the state after a decision.
    """

    def __init__(self, judge: Judge, apply: Callable[[Decision], None]) -> None:
        self._judge, self._apply = judge, apply
        self.decisions: list[Decision] = []
        self.promotions = 0

    def certain(self, systems: Iterable[RungSystem]) -> None:
        """Take every decision that no later arrival can change."""
        for system in systems:
            # Lowest rung first: a stop down there means one trial less to wait for further up.
            for rung in list(system.waiting_rungs()):
                for decision in self._judge.certain(system, rung):
                    self._take(decision)

    def open_ended(self, systems: Mapping[str, RungSystem], slots: int) -> None:
        """Promote by the asynchronous rule in open-ended cohorts, highest rung first, while slots are free."""
        if self.promotions >= slots:
            return
        for system in systems.values():
            for rung in reversed(list(system.waiting_rungs())):
                while self.promotions < slots and (verdict := system.open_ended(rung)) is not None:
                    self._take(self._judge.judge(system, rung, verdict))

    def stalled(self, systems: Mapping[str, RungSystem]) -> None:
        """Judge every waiting trial as if its cohort were closed: nothing trains and nothing can start.

        Who has not come by now comes, if at all, after these trials: an open-ended cohort goes on in waves.
        """
        for system in systems.values():
            system.presumed_complete = True
        self.certain(systems.values())
        for system in systems.values():
            system.presumed_complete = False

    def idle(self, systems: Mapping[str, RungSystem], slots: int) -> None:
        """Give slots that would stay idle to the waiting trials whose promotion is nearest to certain."""
        while self.promotions < slots:
            offers = [
                (offer[0], rung, offer[1].entry.place, system, offer[1])
                for system in systems.values()
                for rung in system.waiting_rungs()
                if (offer := system.idle_candidate(rung)) is not None
            ]
            if not offers:
                return
            _, rung, _, system, verdict = min(offers, key=_nearest)
            self._take(self._judge.judge(system, rung, verdict))

    def _take(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self.promotions += decision.action is Action.CONTINUE
        self._apply(decision)


def _nearest(offer: tuple[float, int, object, RungSystem, Verdict]) -> tuple[float, int, object]:
    # Then the cheaper (lower) rung, then the better result.
    return offer[:3]
