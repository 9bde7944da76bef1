"""Sentences and evidence of the rung decisions: what a person reads, and the numbers behind it."""

from __future__ import annotations

import math

from orchestrator.decisions.forecast.cohort import ForecastSystem
from orchestrator.decisions.objective import Key, Objective, is_judgeable
from orchestrator.decisions.rungs.cohort import RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry, Rung
from orchestrator.records import Scalar

Evidence = dict[str, Scalar]


def rung_evidence(system: RungSystem, rung: int, entry: Entry, objective: Objective) -> Evidence:
    """Return the numbers behind a decision at a rung; None stands for a value that is not finite."""
    here, outstanding = system.rungs[rung], system.outstanding(rung)
    places = here.places(here.size + (0 if math.isinf(outstanding) else outstanding))
    return {
        "objective": objective.label,
        "mode": objective.mode,
        "value": _value(entry.key, objective),
        "violation": _finite(entry.key[0]),
        "cut_off": _value(here.cut_off(places), objective),
        "rank": here.rank(entry),
        "rung_size": here.size,
        "places": places,
        "outstanding": None if math.isinf(outstanding) else int(outstanding),
        "reduction_factor": here.reduction_factor,
        "milestone": here.index,
        "level": here.level,
        "method": entry.method,
        "rank_in_method": here.rank_in_method(entry),
    }


def standing(system: RungSystem, rung: int, entry: Entry, objective: Objective) -> str:
    """Return where a trial stands: objective, value, rank, cohort, milestone."""
    here = system.rungs[rung]
    value = _value(entry.key, objective)
    shown = "is not a number" if value is None else f"{value:.4g}"
    if value is not None and entry.key[0] > 0:
        shown += f" (breaks {_broken(objective)} by {entry.key[0]:.3g})"
    return f"{objective.label} {shown} ranks {here.rank(entry)} of {here.size} in cohort {system.name} {place(here)}"


def place(here: Rung) -> str:
    """Return a rung's place in words."""
    return f"at milestone {here.index + 1} ({here.level:,} samples)"


def forecast_evidence(system: RungSystem, rung: int, entry: Entry, objective: Objective) -> Evidence:
    """Return the forecast behind a decision: expected final value, its 90 % band, the best expected, probability."""
    if not isinstance(system, ForecastSystem) or not is_judgeable(entry.key):
        return {}
    found = system.forecasts(rung)[entry.trial_id]
    low, high = sorted(objective.value_of((0.0, value)) for value in (found.low, found.high))
    return {
        "expected_final": objective.value_of((0.0, found.expected)),
        "expected_low": low,
        "expected_high": high,
        "best_expected_final": objective.value_of((0.0, found.best_expected)),
        "probability_best": found.probability,
    }


def _forecast_reason(system: ForecastSystem, rung: int, verdict: Verdict, objective: Objective) -> str:
    entry = verdict.entry
    facts = forecast_evidence(system, rung, entry, objective)
    expected = (
        f"expected to end at {facts['expected_final']:.4g} ({facts['expected_low']:.4g} to {facts['expected_high']:.4g}), "
        f"the best at {facts['best_expected_final']:.4g}; it ends best with probability {facts['probability_best']:.1%}"
    )
    where = standing(system, rung, entry, objective)
    if verdict.basis == "quota":
        return f"Goes on: {where}; {expected}; kept as the best of method {entry.method}, {_open_side(system, rung, entry.method)}."
    if verdict.basis == "idle":
        return f"Goes on: {where}; {expected}; a worker slot would be idle otherwise."
    if verdict.promote:
        return f"Goes on: {where}; {expected}."
    return f"Stopped: {where}; {expected}, too little to train it on."


def verdict_reason(system: RungSystem, rung: int, verdict: Verdict, objective: Objective) -> str:
    """Return the sentence of a rung's verdict."""
    here, entry = system.rungs[rung], verdict.entry
    if isinstance(system, ForecastSystem) and verdict.basis != "unjudgeable":
        return _forecast_reason(system, rung, verdict, objective)
    facts = rung_evidence(system, rung, entry, objective)
    where, places = standing(system, rung, entry, objective), facts["places"]
    cut = facts["cut_off"]
    more = facts["outstanding"]
    best = f"the best {places} " + (f"of up to {here.size + int(more)} " if more else "") + "go on"
    if isinstance(cut, float):
        best += f" (cut-off {'so far ' if more else ''}{cut:.4g})"
    if verdict.basis == "unjudgeable":
        return f"Stopped: {objective.label} is not a finite number {place(here)}, so the trial ranks last in cohort {system.name}."
    if verdict.basis == "cut":
        return f"Stopped: {where}; {best}."
    if verdict.basis == "quota":
        return (
            f"Goes on: {where}, outside the best {places}, but it is "
            f"{'the best' if system.quota == 1 else f'among the {system.quota} best'} of method {entry.method}, {_open_side(system, rung, entry.method)}."
        )
    if verdict.basis == "async":
        return f"Goes on: {where}, within the best one in {here.reduction_factor or 1:g} so far; more trials may come."
    if verdict.basis == "idle":
        return f"Goes on: {where} and is the best that waits; a worker slot would be idle otherwise."
    if here.reduction_factor is None:
        return f"Goes on: {where}; no rung cuts here."
    return f"Goes on: {where}; {best}."


def pause_reason(system: RungSystem, rung: int, entry: Entry, objective: Objective) -> str:
    """Return the sentence of a trial that waits at a rung."""
    outstanding = system.outstanding(rung)
    others = "an unknown number of trials" if math.isinf(outstanding) else f"{outstanding:.0f} more trials"
    if outstanding == 0:
        return f"Waits: {standing(system, rung, entry, objective)}; all trials have arrived."
    return f"Waits: {standing(system, rung, entry, objective)} so far; {others} may still arrive."


def _open_side(system: RungSystem, rung: int, method: str) -> str:
    bracket = system.bracket(rung, method)
    sides = [name for name, found in (("lower", bracket.below), ("higher", bracket.above)) if found is None]
    return f"whose best learning rate is not bracketed yet (no worse trial at a {' or '.join(sides)} learning rate)"


def _broken(objective: Objective) -> str:
    return " and ".join(constraint.label for constraint in objective.constraints) or "a constraint"


def _value(key: Key, objective: Objective) -> float | None:
    return objective.value_of(key) if is_judgeable(key) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
