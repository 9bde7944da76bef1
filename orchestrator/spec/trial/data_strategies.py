"""What a sweep file may say about data strategies: their names, and where the code is. No torch, no numpy.

A data strategy is one file in `orchestrator.training.data.plans` and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.plugins.registry import Registry


@dataclass(frozen=True)
class DataStrategyEntry:
    """One data strategy.

    Attributes:
        summary: What it does.
        plan: What lays a trial's data out (`orchestrator.training.data.plans.stages.DataPlan`), as
            ``package.module:NAME``, which is imported where a trial trains, or the function itself.
        needs_phases: Whether the sweep must name phases of its data.
        follows_budget: Whether the order depends on the budget, so that a trial cannot be trained on past its own.
    """

    summary: str
    plan: str | Callable[..., object]
    needs_phases: bool = False
    follows_budget: bool = False


DATA_STRATEGIES: dict[str, DataStrategyEntry] = {
    "stacked": DataStrategyEntry(
        "all rows at once, in a new order every epoch", "orchestrator.training.data.plans.stacked:stacked"
    ),
    "phased": DataStrategyEntry(
        "one phase of the data after the other",
        "orchestrator.training.data.plans.phased:phased",
        needs_phases=True,
        follows_budget=True,
    ),
}
"""Every data strategy that a sweep file can name."""


_KNOWN = Registry(DATA_STRATEGIES)


def find_data_strategy(name: object, where: str = "trial") -> DataStrategyEntry:
    """Return the entry of a data strategy.

    Raises:
        SpecError: If there is none of this name.
    """
    return _KNOWN.find("data_strategy", name, where)
