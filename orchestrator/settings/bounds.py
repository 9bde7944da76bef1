"""Options that check themselves: the bounds in a field's metadata hold for records made in code as for a sweep file's."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from orchestrator.errors import SpecError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_BOUNDS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "gt": (operator.gt, "above"),
    "ge": (operator.ge, "at least"),
    "lt": (operator.lt, "below"),
    "le": (operator.le, "at most"),
}


def check_bounds(options: DataclassInstance) -> None:
    """Check every number of a dataclass against the bounds that its metadata gives (see `orchestrator.settings.data.about`).

    Raises:
        SpecError: For the first that is not finite or lies outside; names field, value and bound. (It is a ValueError.)
    """
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value):
            raise SpecError("", field.name, value, "must be a finite number")
        for name, (holds, words) in _BOUNDS.items():
            bound = field.metadata.get(name)
            if bound is not None and not holds(value, bound):
                raise SpecError("", field.name, value, f"must be {words} {bound:g}")
