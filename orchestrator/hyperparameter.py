"""What a hyperparameter that is one number is: stated once, beside its field of `orchestrator.records.TrialConfig`.

Search space, sweep files, names of trials, importances and Hugging Face's arguments are read from these statements, so a
further number is one field there (and whoever trains with it). Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

KEY = "hyperparameter"
"""Where the metadata of a dataclass field holds the statement."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """The rule and the names of one number.

    Attributes:
        about: What it is, as in the schema and the reference page.
        whole: Whether it is a whole number.
        at_least, above, below: Its bounds.
        null: What ``null`` means; empty where it must be a number.
        short: Stands before the value in names of trials; empty: names do not show it.
        rank: Names show lower ranks first, equal ones in the order of the fields.
        argument: What Hugging Face's ``TrainingArguments`` call it; empty: they have none for it.
        null_argument: What ``null`` is there.
    """

    about: str
    whole: bool = False
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    null: str = ""
    short: str = ""
    rank: int = 1
    argument: str = ""
    null_argument: float = 0.0

    @property
    def metadata(self) -> dict[str, Hyperparameter]:
        """The metadata of the dataclass field that this speaks of."""
        return {KEY: self}

    @property
    def rule(self) -> str:
        """What a value must be, e.g. ``a number >= 0``."""
        what = "a whole number" if self.whole else "a number"
        if self.at_least is not None and self.below is not None:
            bounds = f" in [{self.at_least:g}, {self.below:g})"
        else:
            limits = ((">=", self.at_least), (">", self.above), ("<", self.below))
            bounds = "".join(f" {sign} {limit:g}" for sign, limit in limits if limit is not None)
        return what + bounds + (f", or null for {self.null}" if self.null else "")

    def accepts(self, value: object) -> bool:
        """Whether a value keeps to the rule."""
        if value is None:
            return bool(self.null)
        if not is_number(value) or (self.whole and not isinstance(value, int)):
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def read(self, value: float | None) -> float | None:
        """Return a value in the type of its field: one type, one fingerprint."""
        if value is None:
            return None
        return int(value) if self.whole else float(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
