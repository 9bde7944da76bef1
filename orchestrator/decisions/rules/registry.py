"""The rules by name, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.early_dynamics import EarlyDynamicsRule
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.rule import StoppingRule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.errors import InputError, nearest

RULES: Mapping[str, type[StoppingRule]] = {
    "divergence": DivergenceRule,
    "rungs": RungRule,
    "forecast": ForecastRule,
    "early_dynamics": EarlyDynamicsRule,
}
"""Name -> the frozen dataclass of its options, which is the rule."""


def find_rule(name: str) -> type[StoppingRule]:
    """Return the rule of a name.

    Raises:
        InputError: If there is none; names the nearest.
    """
    if name not in RULES:
        rule = f"no stopping rule has this name; known: {', '.join(RULES)}"
        raise InputError("stopping", "", name, rule, nearest(name, RULES))
    return RULES[name]
