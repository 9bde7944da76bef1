"""What a recommendation is asked for, and the budget as a person writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.errors import InputError
from orchestrator.training.setup.sizes import DataFacts, ModelFacts

ObjectiveKind = Literal["loss", "downstream", "forgetting"]
Unit = Literal["trials", "samples", "minutes"]

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)(k|m)?[\s-]*(trials?|samples?|minutes?|min|hours?|h)")
_THOUSANDS = {None: 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True)
class BudgetAsked:
    """How much the whole sweep may spend, the repeats of its winners included."""

    amount: float
    unit: Unit

    @property
    def label(self) -> str:
        """The budget in words."""
        return f"{self.amount:,.0f} {self.unit}"


@dataclass(frozen=True)
class Request:
    """What is to be recommended.

    Attributes:
        model: The base model's architecture.
        data: Sizes of the training data.
        budget: What the sweep may spend.
        objective: ``loss`` (held-out rows of the data), ``downstream`` (rows of another task) or ``forgetting`` (the loss,
            and what general text loses).
        settings: Fields of the sweep file that the user gave: model, data, and any other; they are kept.
        source: Rows of the task (``downstream``) or general text (``forgetting``).
        methods: Methods to search; empty: chosen.
        samples: Training budget of a trial in samples; None: chosen.
        samples_per_minute: Samples that this machine trains in a minute; needed for a budget in minutes.
    """

    model: ModelFacts
    data: DataFacts
    budget: BudgetAsked
    objective: ObjectiveKind
    settings: Mapping[str, object] = field(default_factory=dict)
    source: str = ""
    methods: tuple[str, ...] = ()
    samples: int | None = None
    samples_per_minute: float | None = None

    @property
    def own_data(self) -> Mapping[str, object]:
        """The user's own fields of ``data``."""
        found = self.settings.get("data")
        return found if isinstance(found, Mapping) else {}


def parse_budget(text: str) -> BudgetAsked:
    """Read a budget such as ``24-trials``, ``200k-samples``, ``90-minutes`` or ``2-hours``.

    Raises:
        InputError: If it has no number or no unit, or is nothing.
    """
    found = _BUDGET.fullmatch(text.strip().lower())
    if found is None:
        raise InputError(
            "--budget",
            value=text,
            rule="must be a number with its unit",
            mend="for example 24-trials, 200k-samples or 90-minutes",
        )
    amount, unit = float(found[1]) * _THOUSANDS[found[2]], found[3]
    if unit.startswith("h"):
        amount, unit = amount * 60, "minutes"
    kind: Unit = "trials" if unit.startswith("t") else "samples" if unit.startswith("s") else "minutes"
    if amount <= 0 or (kind == "trials" and amount != int(amount)):
        raise InputError("--budget", value=text, rule="must be above 0, and a whole number of trials")
    return BudgetAsked(amount, kind)
