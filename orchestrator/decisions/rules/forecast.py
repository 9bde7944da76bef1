"""Stopping by forecast: at the rungs those trials go on that may still end best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.decisions.forecast.cohort import ForecastBook, ForecastSystem
from orchestrator.decisions.forecast.forecast import RULE
from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS, ForecastModel, load_model
from orchestrator.decisions.objective import Objective, is_judgeable
from orchestrator.decisions.rules.rule import Comparison, Judged, StoppingRule, SweepOutline
from orchestrator.decisions.rules.rungs import unjudgeable_reason
from orchestrator.decisions.rungs.cohort import Evidence, RungSystem, Verdict
from orchestrator.decisions.rungs.rung import Entry
from orchestrator.settings.stopping import ForecastSpec

QUOTA_SHARE = 0.125
"""Under a forecast the quota per method holds up to this share of the budget; by then a method's curve speaks for itself."""


@dataclass(frozen=True)
class ForecastRule(ForecastSpec, StoppingRule):
    """Compares trials where the rungs are, by their expected final objective instead of a fixed share.

    Args:
        fitted: Weights that have been read already, instead of the file that ``weights`` names.
    """

    name = RULE

    fitted: ForecastModel | None = None

    @property
    def model(self) -> ForecastModel:
        """The weights, read if need be."""
        return load_model(self.file) if self.fitted is None else self.fitted

    @property
    def file(self) -> Path:
        """Where the weights are read."""
        return SHIPPED_WEIGHTS if self.weights is None else Path(self.weights)

    def comparison(self, sweep: SweepOutline, before: Comparison | None) -> Comparison | None:
        """Return the comparison by forecast at the milestones of the one before; None where there is none."""
        if before is None:
            return None
        return _ForecastComparison(self, sweep, dict.fromkeys(before.factors), before.quota)


@dataclass(frozen=True)
class _ForecastComparison:
    """Comparison by forecast in one sweep."""

    rule: ForecastRule
    sweep: SweepOutline
    factors: Mapping[int, float | None]
    quota: int

    def system(self, cohort: str, judged: Sequence[Judged]) -> ForecastSystem:
        levels, budget = [level for _, level, _ in judged], self.sweep.levels[-1]
        book = ForecastBook(self.rule, levels, budget, self.sweep.epochs)
        early = sum(level <= QUOTA_SHARE * budget for level in levels)
        return ForecastSystem(cohort, judged, self.quota, early, book)

    def evidence(self, system: RungSystem, rung: int, entry: Entry, objective: Objective) -> Evidence:
        return {**system.evidence(rung, entry, objective), **_forecast_evidence(system, rung, entry, objective)}

    def reason(self, system: RungSystem, rung: int, verdict: Verdict, objective: Objective) -> str:
        if verdict.basis == "unjudgeable":
            return unjudgeable_reason(system, rung, objective)
        entry = verdict.entry
        facts = _forecast_evidence(system, rung, entry, objective)
        expected = (
            f"expected to end at {facts['expected_final']:.4g} ({facts['expected_low']:.4g} to {facts['expected_high']:.4g}), "
            f"the best at {facts['best_expected_final']:.4g}; it ends best with probability {facts['probability_best']:.1%}"
        )
        where = system.standing(rung, entry, objective)
        if verdict.basis == "quota":
            open_side = system.bracket(rung, entry.method).open_side
            return f"Goes on: {where}; {expected}; kept as the best of method {entry.method}, {open_side}."
        if verdict.basis == "idle":
            return f"Goes on: {where}; {expected}; a worker slot would be idle otherwise."
        if verdict.promote:
            return f"Goes on: {where}; {expected}."
        return f"Stopped: {where}; {expected}, too little to train it on."


def _forecast_evidence(system: RungSystem, rung: int, entry: Entry, objective: Objective) -> dict[str, float]:
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
