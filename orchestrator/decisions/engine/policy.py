"""Which rules run in a sweep, in which order, with which parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.decisions.forecast.forecast import ForecastRule
from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.early_dynamics import EarlyDynamicsRule
from orchestrator.decisions.rungs.rung import RungRule


@dataclass(frozen=True)
class StoppingPolicy:
    """The rules in the order they are asked; a trial goes on only where no rule stops it.

    Args:
        divergence: Asked at every step inside the worker.
        rungs: Where trials are compared, and successive halving, which compares them unless the forecast does.
        forecast: Compares trials at those milestones by their expected final objective.
        early_dynamics: The paper's rule, asked once, of the trials that the rungs let pass.
        record: Stop nothing and pause nothing, whatever the rules say; only a trial whose loss or gradient is no
            longer a number ends, because it has nothing left to record.
    """

    divergence: DivergenceRule = field(default_factory=DivergenceRule)
    rungs: RungRule = field(default_factory=RungRule)
    forecast: ForecastRule = field(default_factory=ForecastRule)
    early_dynamics: EarlyDynamicsRule = field(default_factory=EarlyDynamicsRule)
    record: bool = False

    def worker_rule(self) -> DivergenceRule | None:
        """Return the rule that workers check at every step; None when there is nothing to check."""
        if not self.divergence.enabled:
            return None
        return self.divergence.recording() if self.record else self.divergence

    def judged(self, levels: Sequence[int]) -> list[tuple[int, int, float | None]]:
        """Return the judged milestones as (index, level, reduction factor; None = another rule judges there).

        Raises:
            ValueError: If levels are not rising and positive, or a rung is not a milestone before the last.
        """
        if not levels or list(levels) != sorted(set(levels)) or levels[0] <= 0:
            raise ValueError(f"levels are rising numbers of samples above 0, got {list(levels)}")
        factors: dict[int, float | None] = {}
        if self.rungs.enabled:
            chosen = range(len(levels) - 1) if self.rungs.levels is None else self.rungs.levels
            for index in chosen:
                if index >= len(levels) - 1:
                    raise ValueError(
                        f"rung at milestone {index}, but milestones before the last are 0 to {len(levels) - 2}"
                    )
                factors[index] = None if self.forecast.enabled else self.rungs.reduction_factor
        if self.early_dynamics.enabled:
            factors.setdefault(self.early_dynamics.milestone(levels), None)
        return [(index, levels[index], factors[index]) for index in sorted(factors)]

    def dynamics_milestone(self, levels: Sequence[int]) -> int | None:
        """Return the milestone index where the early-dynamics rule judges; None when it does not run."""
        return self.early_dynamics.milestone(levels) if self.early_dynamics.enabled else None


DEFAULT_POLICY = StoppingPolicy(forecast=ForecastRule(enabled=True))
"""What a sweep file that says nothing of stopping gets."""
