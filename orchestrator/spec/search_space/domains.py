"""Domains: the values one hyperparameter may take.

A domain is written in YAML as a bare value (fixed), a list (choice), or a mapping with one of the keys
``fixed``, ``choice``, ``uniform``, ``log_uniform``, ``integer``. Every domain maps the unit interval onto
its values (`at`), lists itself where it is finite (`grid`), and knows its members (`contains`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from orchestrator.errors import nearest

KINDS = ("fixed", "choice", "uniform", "log_uniform", "integer")


@dataclass(frozen=True)
class Fixed:
    """A single value."""

    value: object

    def grid(self) -> tuple[Any, ...]:
        """Return the only value."""
        return (self.value,)

    def size(self) -> int:
        """Return 1."""
        return 1

    def at(self, unit: float) -> object:
        """Return the only value, whatever ``unit`` is."""
        return self.value

    def contains(self, value: object) -> bool:
        """Whether ``value`` is the fixed one."""
        return bool(value == self.value)

    def to_yaml(self) -> object:
        """Return the domain as it would be written in YAML."""
        return {"fixed": self.value} if isinstance(self.value, (list, dict)) else self.value


@dataclass(frozen=True)
class Choice:
    """One of several values, all equally likely.

    Raises:
        ValueError: If there are no values, or the same value twice.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice needs at least one value, got an empty list")
        for index, value in enumerate(self.values):
            if any(value == other and type(value) is type(other) for other in self.values[:index]):
                raise ValueError(f"a choice lists each value once, {value!r} appears twice")

    def grid(self) -> tuple[Any, ...]:
        """Return all values in the order written."""
        return self.values

    def size(self) -> int:
        """Return how many values there are."""
        return len(self.values)

    def at(self, unit: float) -> object:
        """Return the value at ``unit`` in [0, 1)."""
        return self.values[min(int(unit * len(self.values)), len(self.values) - 1)]

    def contains(self, value: object) -> bool:
        """Whether ``value`` is among the choices."""
        return value in self.values

    def to_yaml(self) -> object:
        """Return the domain as it would be written in YAML."""
        return list(self.values)


@dataclass(frozen=True)
class Uniform:
    """A real number in [low, high], uniform or log-uniform, optionally rounded to a multiple of ``quantum``.

    ``points`` is how many values a grid takes (evenly spaced, ends included); without it, a grid takes every
    multiple of ``quantum``.

    Raises:
        ValueError: If low > high, a log range reaches 0, ``points`` or ``quantum`` is not positive, or no multiple
            of ``quantum`` lies in the range.
    """

    low: float
    high: float
    log: bool = False
    quantum: float | None = None
    points: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"a range needs finite ends, got [{self.low:g}, {self.high:g}]")
        if self.low > self.high:
            raise ValueError(f"a range needs low <= high, got [{self.low:g}, {self.high:g}]; swap the two numbers")
        if self.log and self.low <= 0:
            raise ValueError(f"a log_uniform range must lie above 0, got low = {self.low:g}")
        if self.quantum is not None:
            if not (math.isfinite(self.quantum) and self.quantum > 0):
                raise ValueError(f"quantum must be > 0, got {self.quantum:g}")
            if self._multiples[0] > self._multiples[1]:
                raise ValueError(f"[{self.low:g}, {self.high:g}] holds no multiple of quantum {self.quantum:g}")
        if self.points is not None and self.points < 1:
            raise ValueError(f"points must be >= 1, got {self.points}")

    def grid(self) -> tuple[float, ...] | None:
        """Return ``points`` values, every multiple of ``quantum``, or None where neither is given."""
        if self.points is None and self.quantum is not None:
            first, last = self._multiples
            return tuple(self._multiple(index) for index in range(first, last + 1))
        if self.points is None:
            return (self.low,) if self.low == self.high else None
        if self.points == 1:
            return (self._scaled(0.5),)
        values = [self._scaled(index / (self.points - 1)) for index in range(self.points)]
        return tuple(dict.fromkeys(values))

    def at(self, unit: float) -> float:
        """Map ``unit`` in [0, 1] to the range (in log space where asked)."""
        return self._scaled(unit)

    def snap(self, value: float) -> float:
        """Return the value of this domain that is nearest to a number."""
        if self.quantum is not None:
            first, last = self._multiples
            return self._multiple(min(max(round(value / self.quantum), first), last))
        # Four significant digits are finer than any learning-rate effect and keep names and grids readable.
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def size(self) -> int | None:
        """Return how many values there are; None for a continuous range."""
        if self.quantum is None:
            return 1 if self.low == self.high else None
        return self._multiples[1] - self._multiples[0] + 1

    def contains(self, value: object) -> bool:
        """Whether ``value`` lies in the range (and is a multiple of ``quantum``), up to rounding."""
        if not isinstance(value, (int, float)):
            return False
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        inside = self.low - slack <= value <= self.high + slack
        return inside and (self.quantum is None or math.isclose(self.snap(value), value, abs_tol=slack))

    def to_yaml(self) -> dict[str, object]:
        """Return the domain as it would be written in YAML."""
        extra = {"quantum": self.quantum, "points": self.points}
        kind = "log_uniform" if self.log else "uniform"
        return {kind: [self.low, self.high], **{k: v for k, v in extra.items() if v is not None}}

    def _scaled(self, unit: float) -> float:
        if self.log:
            value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + unit * (self.high - self.low)
        return self.snap(value)

    @property
    def _multiples(self) -> tuple[int, int]:
        """The first and the last multiple of ``quantum`` in the range, as factors."""
        assert self.quantum is not None
        # 0.3 / 0.1 is 2.9999999999999996: rounding noise must not lose an end.
        low, high = self.low / self.quantum, self.high / self.quantum
        return math.ceil(low - 1e-9 * abs(low)), math.floor(high + 1e-9 * abs(high))

    def _multiple(self, factor: int) -> float:
        assert self.quantum is not None
        return float(f"{factor * self.quantum:.12g}")


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high] (both included) in steps of ``step``, optionally log-uniform.

    Raises:
        ValueError: If low > high, ``step`` < 1, or a log range reaches 0.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a range needs low <= high, got [{self.low}, {self.high}]; swap the two numbers")
        if self.step < 1:
            raise ValueError(f"step must be >= 1, got {self.step}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must lie above 0, got low = {self.low}")

    def grid(self) -> tuple[int, ...]:
        """Return every value."""
        return tuple(range(self.low, self.high + 1, self.step))

    def size(self) -> int:
        """Return how many values there are."""
        return (self.high - self.low) // self.step + 1

    def at(self, unit: float) -> int:
        """Map ``unit`` in [0, 1) to a value."""
        if self.log:
            raw = math.exp(math.log(self.low) + unit * (math.log(self.high + self.step) - math.log(self.low)))
        else:
            raw = self.low + unit * (self.high + self.step - self.low)
        return self.snap(int(raw))

    def snap(self, value: int) -> int:
        """Return the largest value of this domain up to a number (the lowest value below that)."""
        return self.low + min(max(0, value - self.low) // self.step, self.size() - 1) * self.step

    def contains(self, value: object) -> bool:
        """Whether ``value`` is one of the values."""
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def to_yaml(self) -> dict[str, object]:
        """Return the domain as it would be written in YAML."""
        extra: dict[str, object] = {"step": self.step} if self.step != 1 else {}
        return {"integer": [self.low, self.high], **extra, **({"log": True} if self.log else {})}


Domain = Fixed | Choice | Uniform | Integer


def parse_domain(value: object) -> Domain:
    """Read a domain from its YAML form.

    Raises:
        ValueError: With the value and the rule, when it is not a domain.
    """
    if isinstance(value, (Fixed, Choice, Uniform, Integer)):
        return value
    if isinstance(value, Mapping):
        return _parse_mapping(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return Choice(tuple(value))
    return Fixed(value)


def _parse_mapping(value: Mapping[str, object]) -> Domain:
    kinds = [key for key in value if key in KINDS]
    if len(kinds) != 1:
        unknown = next((str(key) for key in value if key not in KINDS), "")
        mend = nearest(unknown, KINDS)
        raise ValueError(
            f"a domain is a value, a list, or a mapping with exactly one of {', '.join(KINDS)}; "
            f"got keys {sorted(map(str, value))}" + (f"; {mend}" if mend else "")
        )
    kind = kinds[0]
    options = {key: entry for key, entry in value.items() if key != kind}
    if kind == "fixed":
        _allow(kind, options, ())
        return Fixed(value[kind])
    if kind == "choice":
        _allow(kind, options, ())
        values = value[kind]
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise ValueError(f"choice needs a list of values, got {values!r}")
        return Choice(tuple(values))
    low, high = _ends(kind, value[kind])
    if kind == "integer":
        _allow(kind, options, ("step", "log"))
        step = _whole("step", options.get("step", 1))
        log = options.get("log", False)
        if not isinstance(log, bool):
            raise ValueError(f"log must be true or false, got {log!r}")
        return Integer(_whole("low", low), _whole("high", high), step, log)
    _allow(kind, options, ("quantum", "points"))
    quantum = None if options.get("quantum") is None else _number("quantum", options["quantum"])
    points = None if options.get("points") is None else _whole("points", options["points"])
    return Uniform(_number("low", low), _number("high", high), kind == "log_uniform", quantum, points)


def _ends(kind: str, value: object) -> tuple[object, object]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{kind} needs [low, high], got {value!r}")
    return value[0], value[1]


def _allow(kind: str, options: Mapping[str, object], known: tuple[str, ...]) -> None:
    for key in options:
        if key not in known:
            rule = f"knows only {', '.join(known)}" if known else "takes no further keys"
            mend = nearest(str(key), known)
            raise ValueError(f"{kind} {rule}; got '{key}'" + (f"; {mend}" if mend else ""))


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None


def _whole(name: str, value: object) -> int:
    number = _number(name, value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(number)


DOMAIN_SCHEMA: dict[str, Any] = {
    "description": "A value (fixed), a list (choice), or {uniform|log_uniform|integer: [low, high]}, {choice: [...]}, "
    "{fixed: ...}. Options: quantum and points (uniform, log_uniform), step and log (integer).",
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "minItems": 1},
        *(
            {
                "type": "object",
                "required": [kind],
                "additionalProperties": False,
                "properties": {
                    kind: {} if kind == "fixed" else {"type": "array", "minItems": 1},
                    **{key: {} for key in extra},
                },
            }
            for kind, extra in (
                ("fixed", ()),
                ("choice", ()),
                ("uniform", ("quantum", "points")),
                ("log_uniform", ("quantum", "points")),
                ("integer", ("step", "log")),
            )
        ),
    ],
}

DomainField = Annotated[
    Domain,
    PlainValidator(parse_domain),
    PlainSerializer(lambda domain: domain.to_yaml(), return_type=object),
    WithJsonSchema(DOMAIN_SCHEMA),
]
