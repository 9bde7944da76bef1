"""From a sweep and the size of its data to the numbers all trials share: budget, milestones, number of trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import SpecError
from orchestrator.spec.search_space.domains import Integer, Uniform
from orchestrator.spec.search_space.enumeration import count_configs, grid_configs
from orchestrator.spec.searchers import searcher_kind
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.batch_plan import milestone_levels

DEFAULT_TRIALS = 24


@dataclass(frozen=True)
class SweepPlan:
    """What every trial of a sweep shares.

    ``trials`` is how many there are at most, ``samples`` the budget of one trial, ``levels`` its milestones in
    samples, ``rung_indices`` the indices of the milestones at which trials are compared. ``rows`` is the number of training
    rows; None where an entrypoint brings data of its own.
    """

    trials: int
    samples: int
    levels: tuple[int, ...]
    rung_indices: tuple[int, ...]
    rows: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SweepPlan:
        """Rebuild a plan from its dictionary form (`dataclasses.asdict`)."""
        levels, rungs = tuple(values["levels"]), tuple(values["rung_indices"])
        return cls(values["trials"], values["samples"], levels, rungs, values.get("rows"))

    @property
    def epochs(self) -> float | None:
        """How often a whole trial sees each row; None where that is not known."""
        return self.samples / self.rows if self.rows else None

    @property
    def exhaustive_samples(self) -> int:
        """Samples that training every trial to its end would take."""
        return self.trials * self.samples


def plan_sweep(spec: SweepSpec, rows: int | None, where: str = "sweep file") -> SweepPlan:
    """Resolve budget and milestones for ``rows`` training rows; None where an entrypoint brings data of its own.

    Raises:
        SpecError: If the budget cannot hold a single effective batch, or a grid is infinite.
    """
    # 0.1 * 30 is 3.0000000000000004: rounding noise must not add a sample.
    samples = spec.budget.samples or math.ceil(round((spec.budget.epochs or 1.0) * (rows or 0), 6))
    sizes = _batch_sizes(spec)
    if rows is not None and max(sizes) > rows:
        raise SpecError(
            where,
            "search_space.effective_batch_size",
            max(sizes),
            f"an effective batch cannot be larger than the data ({rows} training rows)",
            f"use at most {rows}, or more data",
        )
    if max(sizes) > samples:
        raise SpecError(
            where,
            "budget.samples",
            samples,
            f"one trial's budget must hold at least one effective batch ({max(sizes)} samples)",
            "raise budget.samples or lower the effective batch sizes",
        )
    levels = milestone_levels(samples, spec.milestones, sizes)
    # Milestones that lie close together may have merged into one level, so positions are looked up by level.
    rungs = {
        milestone_levels(samples, [share], sizes)[0] for share in spec.stopping.rungs.levels or spec.milestones[:-1]
    }
    indices = tuple(index for index, level in enumerate(levels[:-1]) if level in rungs)
    return SweepPlan(_count_trials(spec, samples, where), samples, levels, indices, rows)


def _count_trials(spec: SweepSpec, samples: int, where: str) -> int:
    if not searcher_kind(spec.searcher.kind).enumerates:
        wanted, held = spec.budget.trials or DEFAULT_TRIALS, count_configs(spec.search_space)
        return wanted if held is None else min(wanted, held)
    whole = len(grid_configs(spec.search_space, samples, where))
    return min(whole, spec.budget.trials or whole)


def _batch_sizes(spec: SweepSpec) -> list[int]:
    domain = spec.search_space.effective_batch_size
    if isinstance(domain, (Uniform, Integer)):
        return [int(domain.low), int(domain.high)]
    return [int(value) for value in domain.grid()]
