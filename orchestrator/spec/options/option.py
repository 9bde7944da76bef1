"""What one option of a method may be: its kinds of value, its bounds, its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OptionInfo:
    """One option of a method.

    Attributes:
        kinds: Accepted JSON kinds: int, float, bool, str, null, dict, list[int], list[str], choice, object, ...
        default: Value when not given; None often means "chosen from the model".
        choices: Accepted values besides those of the other kinds.
        low, high: Inclusive bounds of numbers.
        fields: Options of a nested object (kind ``object``).
        description: What it does, one sentence; empty where peft's documentation says it.
    """

    kinds: tuple[str, ...]
    default: object = None
    choices: tuple[object, ...] = ()
    low: float | None = None
    high: float | None = None
    fields: Mapping[str, OptionInfo] = field(default_factory=dict)
    description: str = ""
