"""Stopping by forecast: at the rungs those trials go on that may still end best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.decisions.forecast.cohort import ForecastBook, ForecastSystem
from orchestrator.decisions.forecast.forecast import RULE
from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS, ForecastModel, load_model
from orchestrator.decisions.rules.rule import Comparison, Judged, StoppingRule, SweepOutline
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
