"""Batch arithmetic of one trial: samples, optimizer steps, warm-up, milestone levels. Standard library only.

Progress is counted in samples, so that trials with different effective batch sizes can be compared.
Optimizer step ``k`` (counted from 1) ends at ``min(k * effective_batch_size, samples)`` samples; only
the last step may be smaller than the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WARMUP_UNITS = ("steps", "samples", "ratio")


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a budget of samples becomes optimizer steps.

    Args:
        samples: Training budget in samples, at least one effective batch.
        effective_batch_size: Samples per optimizer step.
        warmup_unit: What ``warmup_amount`` counts: ``steps``, ``samples`` or ``ratio`` (share of all steps).
        warmup_amount: Length of the warm-up; rounded up to whole optimizer steps.

    Raises:
        ValueError: If a value breaks its rule; the message states both.
    """

    samples: int
    effective_batch_size: int
    warmup_unit: str = "steps"
    warmup_amount: float = 0.0

    def __post_init__(self) -> None:
        _require_whole("effective_batch_size", self.effective_batch_size)
        _require_whole("samples", self.samples)
        if self.effective_batch_size > self.samples:
            raise ValueError(
                f"effective_batch_size must be at most the samples of the budget ({self.samples}), "
                f"got {self.effective_batch_size}"
            )
        if self.warmup_unit not in WARMUP_UNITS:
            raise ValueError(f"warmup_unit must be one of {', '.join(WARMUP_UNITS)}, got {self.warmup_unit!r}")
        if not (math.isfinite(self.warmup_amount) and self.warmup_amount >= 0):
            raise ValueError(f"warmup_amount must be finite and at least 0, got {self.warmup_amount}")
        if self.warmup_unit == "ratio" and self.warmup_amount > 1:
            raise ValueError(f"warmup_amount must be at most 1 when warmup_unit is ratio, got {self.warmup_amount}")

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return -(-self.samples // self.effective_batch_size)

    @property
    def last_step_size(self) -> int:
        """Samples in the last optimizer step (1 to ``effective_batch_size``)."""
        return self.samples - (self.steps - 1) * self.effective_batch_size

    @property
    def warmup_steps(self) -> int:
        """Warm-up in optimizer steps, rounded up, at most all steps."""
        amount = self.warmup_amount
        if self.warmup_unit == "samples":
            amount = amount / self.effective_batch_size
        elif self.warmup_unit == "ratio":
            amount = amount * self.steps
        # 0.07 * 100 is 7.000000000000001: do not let rounding noise add a step.
        return min(math.ceil(round(amount, 9)), self.steps)

    def samples_at(self, step: int) -> int:
        """Return the samples seen after ``step`` optimizer steps (0 to ``steps``).

        Raises:
            ValueError: If ``step`` lies outside the plan.
        """
        if not 0 <= step <= self.steps:
            raise ValueError(f"step must lie in 0..{self.steps}, got {step}")
        return min(step * self.effective_batch_size, self.samples)

    def step_at(self, samples: int) -> int:
        """Return the first optimizer step after which at least ``samples`` samples (at most the budget) are seen.

        Raises:
            ValueError: If ``samples`` is negative.
        """
        if samples < 0:
            raise ValueError(f"samples must be at least 0, got {samples}")
        return -(-min(samples, self.samples) // self.effective_batch_size)


def milestone_levels(
    samples: int,
    targets: Iterable[float],
    effective_batch_sizes: Sequence[int],
    *,
    tolerance: float = 0.1,
) -> tuple[int, ...]:
    """Place milestones (in samples) where trials of every batch size can meet.

    A target moves to the nearest multiple of the least common multiple of the batch sizes when that is
    at most ``tolerance`` of the target away; else it stays, and `overshoot` tells by how much a trial
    may pass it. Targets that fall together are merged, and the budget itself is always the last level.

    Args:
        samples: Budget in samples.
        targets: Whole samples (int), or shares of the budget (floats from 0 exclusive to 1 inclusive).
        effective_batch_sizes: Batch sizes of the trials that are to be compared.
        tolerance: Largest relative move of a target.

    Returns:
        Levels in samples, increasing.

    Raises:
        ValueError: If a target or batch size breaks its rule.
    """
    _require_whole("samples", samples)
    _require_sizes(effective_batch_sizes)
    common = math.lcm(*effective_batch_sizes)
    return tuple(sorted({_snap(_as_samples(t, samples), common, samples, tolerance) for t in targets} | {samples}))


def overshoot(level: int, samples: int, effective_batch_sizes: Sequence[int]) -> int:
    """Return the most samples by which a trial of any of the batch sizes passes ``level``; 0 means all meet there.

    An optimizer step is never split; the last one is cut at the budget, so no trial passes that.

    Raises:
        ValueError: If a batch size breaks its rule.
    """
    _require_sizes(effective_batch_sizes)
    return max(min(-(-level // size) * size, samples) - level for size in effective_batch_sizes)


def _as_samples(target: float, samples: int) -> int:
    share = isinstance(target, float) and 0 < target <= 1
    level = math.ceil(round(target * samples, 6)) if share else target
    if not (math.isfinite(level) and level == int(level) and 1 <= level <= samples):
        raise ValueError(f"a milestone must be a share in (0, 1] or whole samples in 1..{samples}, got {target}")
    return int(level)


def _snap(level: int, common: int, samples: int, tolerance: float) -> int:
    snapped = max(1, round(level / common)) * common
    close = abs(snapped - level) <= tolerance * level
    return snapped if close and level < samples and snapped <= samples else level


def _require_sizes(sizes: Sequence[int]) -> None:
    if not sizes:
        raise ValueError("effective_batch_sizes must name at least one batch size, got none")
    for size in sizes:
        _require_whole("effective_batch_sizes", size)


def _require_whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
