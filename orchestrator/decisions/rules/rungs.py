"""Successive halving: at each rung one in so many trials of a cohort goes on, by the objective so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.decisions.objective import Objective
from orchestrator.decisions.rules.rule import Comparison, Judged, StoppingRule, SweepOutline
from orchestrator.decisions.rungs.cohort import RULE, Evidence, RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry
from orchestrator.settings.stopping import RungsSpec


@dataclass(frozen=True)
class RungComparison:
    """Comparison by a fixed share; without rungs, none at all. See `Comparison`."""

    factors: Mapping[int, float | None] = field(default_factory=dict)
    quota: int = 0

    def system(self, cohort: str, judged: Sequence[Judged]) -> RungSystem:
        """Return the rungs of a cohort."""
        return RungSystem(cohort, judged, self.quota)

    def evidence(self, system: RungSystem, rung: int, entry: Entry, objective: Objective) -> Evidence:
        """Return where the trial stands."""
        return system.evidence(rung, entry, objective)

    def reason(self, system: RungSystem, rung: int, verdict: Verdict, objective: Objective) -> str:
        """Return the sentence of a verdict."""
        if verdict.basis == "unjudgeable":
            return unjudgeable_reason(system, rung, objective)
        here, entry = system.rungs[rung], verdict.entry
        facts = system.evidence(rung, entry, objective)
        where, places, cut, more = (
            system.standing(rung, entry, objective),
            facts["places"],
            facts["cut_off"],
            facts["outstanding"],
        )
        best = f"the best {places} " + (f"of up to {here.size + int(more)} " if more else "") + "go on"
        if isinstance(cut, float):
            best += f" (cut-off {'so far ' if more else ''}{cut:.4g})"
        if verdict.basis == "cut":
            return f"Stopped: {where}; {best}."
        if verdict.basis == "quota":
            kept = "the best" if system.quota == 1 else f"among the {system.quota} best"
            open_side = system.bracket(rung, entry.method).open_side
            return (
                f"Goes on: {where}, outside the best {places}, but it is {kept} of method {entry.method}, {open_side}."
            )
        if verdict.basis == "async":
            return (
                f"Goes on: {where}, within the best one in {here.reduction_factor or 1:g} so far; more trials may come."
            )
        if verdict.basis == "idle":
            return f"Goes on: {where} and is the best that waits; a worker slot would be idle otherwise."
        if here.reduction_factor is None:
            return f"Goes on: {where}; no rung cuts here."
        return f"Goes on: {where}; {best}."


def unjudgeable_reason(system: RungSystem, rung: int, objective: Objective) -> str:
    """Return the sentence of a trial whose result is not a number."""
    where = system.rungs[rung].where
    return (
        f"Stopped: {objective.label} is not a finite number {where}, so the trial ranks last in cohort {system.name}."
    )


@dataclass(frozen=True)
class RungRule(RungsSpec, StoppingRule):
    """Where and among whom trials are compared, and by which share, unless a later rule compares them otherwise.

    Args:
        milestones: What ``levels`` come to in a sweep, as indices of its milestones; None = all but the last.

    Raises:
        ValueError: If an option is out of range; states the value.
    """

    name = RULE

    milestones: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        indices = self.milestones
        if indices is not None and (any(index < 0 for index in indices) or list(indices) != sorted(set(indices))):
            raise ValueError(f"milestones of rungs are rising indices from 0, got {indices}")

    def comparison(self, sweep: SweepOutline, before: Comparison | None) -> Comparison | None:
        """Return the comparison by a fixed share; None where no milestone is a rung."""
        last = len(sweep.levels) - 1
        indices = range(last) if self.milestones is None else self.milestones
        wrong = next((index for index in indices if index >= last), None)
        if wrong is not None:
            raise ValueError(f"rung at milestone {wrong}, but milestones before the last are 0 to {last - 1}")
        if not indices:
            return None
        return RungComparison(dict.fromkeys(indices, self.reduction_factor), self.quota_per_method)
