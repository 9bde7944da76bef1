"""The sweep file's objective as the decisions know it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from orchestrator.decisions.objective import Constraint, Objective
from orchestrator.spec.sweep import SweepSpec


def make_objective(spec: SweepSpec) -> Objective:
    """Return the sweep's objective as the decisions know it."""
    bounds = tuple(Constraint(c.metric, c.at_most, c.at_least) for c in spec.objective.constraints)
    return Objective(spec.objective.metric, spec.objective.mode, bounds)


def objective_error(objective: Objective, standard_errors: Mapping[str, float]) -> float | None:
    """Return the standard error of the objective; of a weighted sum as if its metrics erred independently.

    None where the error of one of its metrics is unknown.
    """
    if any(metric not in standard_errors for metric in objective.weights):
        return None
    return math.hypot(*(weight * standard_errors[metric] for metric, weight in objective.weights.items()))
