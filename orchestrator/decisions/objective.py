"""What best means: one metric or a weighted sum, a mode, and bounds that a winner must keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import SpecError, nearest

Key = tuple[float, float]
"""Sortable rank of a result, smaller is better: (violation of the constraints, objective turned so that less is better)."""

WORST: Key = (math.inf, math.inf)
"""Key of a result that cannot be compared: not a number, infinite, or none at all."""


def is_judgeable(key: Key) -> bool:
    """Whether a key stands for a finite objective."""
    return math.isfinite(key[1])


@dataclass(frozen=True)
class Constraint:
    """A bound on one metric.

    Args:
        metric: Name of the bounded metric.
        at_most: Largest allowed value, or None.
        at_least: Smallest allowed value, or None.

    Raises:
        ValueError: If not exactly one finite bound is given.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"a constraint on {self.metric} needs exactly one of at_most, at_least")
        if not math.isfinite(self.bound):
            raise ValueError(f"a constraint on {self.metric} needs a finite bound, got {self.bound}")

    @property
    def bound(self) -> float:
        """The bound, whichever side it is on."""
        return self.at_most if self.at_most is not None else float(self.at_least or 0.0)

    @property
    def label(self) -> str:
        """The constraint as shown to people."""
        return f"{self.metric} {'<=' if self.at_most is not None else '>='} {self.bound:g}"

    def violation(self, value: float) -> float:
        """Return by how much ``value`` breaks the bound, in units of the bound (plain when the bound is 0).

        The unit lets violations of several metrics be added. A value that is not a number breaks the
        bound without end.
        """
        if math.isnan(value):
            return math.inf
        excess = value - self.bound if self.at_most is not None else self.bound - value
        return max(0.0, excess) / (abs(self.bound) or 1.0)


@dataclass(frozen=True)
class Objective:
    """What is optimised.

    Args:
        metric: A metric, or metric -> weight for a weighted sum.
        mode: ``min`` when lower is better, ``max`` when higher is.
        constraints: Results that keep all of them rank before those that do not; these rank by violation.

    Raises:
        ValueError: If there is no metric, or a weight is zero or not finite, or the mode is unknown.
    """

    metric: str | Mapping[str, float]
    mode: Literal["min", "max"] = "min"
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"the objective's mode must be min or max, got {self.mode!r}")
        if not self.weights or not all(self.weights):
            raise ValueError(f"the objective needs at least one named metric, got {self.metric!r}")
        for name, weight in self.weights.items():
            if weight == 0 or not math.isfinite(weight):
                raise ValueError(f"the objective's weight of {name} must be finite and not 0, got {weight}")

    @property
    def weights(self) -> Mapping[str, float]:
        """The objective as metric -> weight."""
        return {self.metric: 1.0} if isinstance(self.metric, str) else self.metric

    @property
    def label(self) -> str:
        """The objective as shown to people."""
        if isinstance(self.metric, str):
            return self.metric
        return " + ".join(f"{weight:g} {name}" for name, weight in self.metric.items())

    def value(self, scores: Mapping[str, float]) -> float:
        """Return the objective's value.

        Raises:
            SpecError: If a metric is missing; names the available ones. (It is a ValueError.)
        """
        return sum(weight * _pick(scores, name, "metric") for name, weight in self.weights.items())

    def violation(self, scores: Mapping[str, float], partial: bool = False) -> float:
        """Return the sum of violations, 0 when all constraints hold.

        Args:
            scores: Metric -> value.
            partial: Skip constraints whose metric is absent (metrics that are measured at the end only).

        Raises:
            SpecError: If a constraint's metric is missing and ``partial`` is false.
        """
        total = 0.0
        for constraint in self.constraints:
            if not partial or constraint.metric in scores:
                total += constraint.violation(_pick(scores, constraint.metric, "constraints"))
        return total

    def key(self, scores: Mapping[str, float], partial: bool = False) -> Key:
        """Return the sortable rank of ``scores`` (smaller is better); `WORST` when the value is not finite.

        Raises:
            SpecError: As `value` and `violation`.
        """
        value = self.value(scores)
        if not math.isfinite(value):
            return WORST
        return (self.violation(scores, partial), value if self.mode == "min" else -value)

    def value_of(self, key: Key) -> float:
        """Return the objective's value that a finite key stands for."""
        return key[1] if self.mode == "min" else -key[1]


def _pick(scores: Mapping[str, float], name: str, field: str) -> float:
    if name not in scores:
        available = ", ".join(sorted(scores)) or "none"
        raise SpecError(
            "objective",
            field,
            name,
            f"this metric was not measured; available metrics: {available}",
            nearest(name, scores) or "name a metric that an evaluation set gives at every judged milestone",
        )
    return float(scores[name])
