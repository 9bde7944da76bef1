"""Where the best value of a hyperparameter lies on the edge of the range that was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from orchestrator.records import Scalar
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.results.records import TrialHistory
from orchestrator.spec.search_space.domains import Choice, Domain, Integer, Uniform
from orchestrator.spec.trial.dimensions import number_of

EDGE_SHARE = 0.1
"""A value in the outer tenth of a continuous range (on its own scale) counts as on the edge."""
_NEVER = frozenset({"seed"})

Side = Literal["low", "high"]


@dataclass(frozen=True)
class Edge:
    """A hyperparameter whose best value is the lowest or highest that was allowed.

    Args:
        method: Method whose best trial it is.
        dimension: As in `SearchSpace.dimensions`.
        side: Which edge.
        value: The best value.
        matters: Whether the method is still in the race: its best trial completed, or none did.
        margin: By how much the best value leads the best trial with another value; None without one.
        error: Standard error of that margin.
    """

    method: str
    dimension: str
    side: Side
    value: float
    matters: bool
    margin: float | None
    error: float | None

    @property
    def title(self) -> str:
        """The hyperparameter as shown to people."""
        return shown_name(self.dimension)


def shown_name(dimension: str) -> str:
    """Return a dimension's name as shown to people."""
    return dimension.removeprefix("option.").replace("_", " ")


def find_edges(facts: SweepFacts) -> list[Edge]:
    """Return every method's hyperparameters whose best value is on the edge; methods best first."""
    found = []
    for method in facts.methods:
        # Where repeats chose another recipe than the best single trial, its values are the best ones.
        trials = sorted(facts.of_method(method), key=lambda trial: not facts.is_best(trial.result))
        if not trials:
            continue
        for name, domain in facts.space.dimensions(method).items():
            edge = None if name in _NEVER else _edge(facts, method, name, domain, trials)
            if edge is not None:
                found.append(edge)
    return found


def _edge(facts: SweepFacts, method: str, name: str, domain: Domain, trials: Sequence[TrialHistory]) -> Edge | None:
    values = [value for trial in trials if _is_real(value := taken(trial, name))]
    if len(values) < len(trials) or len(set(values)) < 2:
        return None
    side = edge_side(domain, values[0])
    if side is None:
        return None
    other = next((trial for trial, value in zip(trials, values, strict=True) if value != values[0]), None)
    margin, error = _margin(facts, trials[0], other)
    matters = trials[0] in facts.completed or not facts.completed
    return Edge(method, name, side, values[0], matters, margin, error)


def edge_side(domain: Domain, value: float) -> Side | None:
    """Return the edge of a domain of numbers on which a value lies, or None."""
    if isinstance(domain, Choice):
        if not all(_is_real(each) for each in domain.values) or len(domain.values) < 2:
            return None
        low, high = min(domain.values), max(domain.values)
        return "low" if value == low else "high" if value == high else None
    if isinstance(domain, (Uniform, Integer)) and domain.low < domain.high:
        if (isinstance(domain, Uniform) and domain.log) or (isinstance(domain, Integer) and domain.log):
            place = math.log(value / domain.low) / math.log(domain.high / domain.low)
        else:
            place = (value - domain.low) / (domain.high - domain.low)
        return "low" if place <= EDGE_SHARE else "high" if place >= 1 - EDGE_SHARE else None
    return None


def taken(trial: TrialHistory, dimension: str) -> Scalar:
    """Return the value of a dimension that a trial was trained with; None where it is no number."""
    value: Scalar = number_of(trial.result.config, dimension)
    return value


def _margin(facts: SweepFacts, best: TrialHistory, other: TrialHistory | None) -> tuple[float | None, float | None]:
    # Only trials that were judged at the same milestone can be held against each other.
    here, there = facts.judged_at(best), None if other is None else facts.judged_at(other)
    if here is None or there is None or other is None or here.index != there.index:
        return None, None
    values = facts.value(here.scores), facts.value(there.scores)
    errors = facts.error(here.standard_errors), facts.error(there.standard_errors)
    if values[0] is None or values[1] is None:
        return None, None
    both = None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])
    return facts.loss(values[1]) - facts.loss(values[0]), both


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
