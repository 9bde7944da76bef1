"""Successive halving: at each rung one in so many trials of a cohort goes on, by the objective so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.decisions.rules.rule import Comparison, Judged, StoppingRule, SweepOutline
from orchestrator.decisions.rungs.cohort import RULE, RungSystem
from orchestrator.settings.stopping import RungsSpec


@dataclass(frozen=True)
class RungComparison:
    """Comparison by a fixed share; without rungs, none at all. See `Comparison`."""

    factors: Mapping[int, float | None] = field(default_factory=dict)
    quota: int = 0

    def system(self, cohort: str, judged: Sequence[Judged]) -> RungSystem:
        """Return the rungs of a cohort."""
        return RungSystem(cohort, judged, self.quota)


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
