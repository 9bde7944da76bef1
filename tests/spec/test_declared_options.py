"""Options of a method, declared once by a dataclass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Optional

import pytest

from orchestrator.errors import InputError, SpecError
from orchestrator.settings.data import about
from orchestrator.spec.options.declared import as_dataclass, options_of_dataclass
from orchestrator.spec.options.option import OptionInfo
from orchestrator.spec.options.values import checked_value


class Order(Enum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Inner:
    weight: float = field(default=0.5, metadata=about("How much.", ge=0.0))


@dataclass(frozen=True)
class Everything:
    count: int = field(default=3, metadata=about("How many.", ge=1, le=9))
    rate: float = 0.1
    fast: bool = False
    name: str = "a"
    layers: int | None = None
    share: Optional[float] = 0.5  # noqa: UP045
    kind: Literal["x", "y"] | int = "x"
    order: Order | str = "up"
    rows: list[int] = field(default_factory=lambda: [1, 2])
    words: list[str] | None = None
    pairs: list[tuple[int, int]] = field(default_factory=list)
    anything: dict[str, object] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None


OPTIONS = options_of_dataclass(Everything)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count", OptionInfo(("int",), 3, low=1, high=9, description="How many.")),
        ("rate", OptionInfo(("float",), 0.1)),
        ("fast", OptionInfo(("bool",), False)),
        ("name", OptionInfo(("str",), "a")),
        ("layers", OptionInfo(("int", "null"))),
        ("share", OptionInfo(("float", "null"), 0.5)),
        ("kind", OptionInfo(("choice", "int"), "x", ("x", "y"))),
        ("order", OptionInfo(("choice", "str"), "up", ("up", "down"))),
        ("rows", OptionInfo(("list[int]",), [1, 2])),
        ("words", OptionInfo(("list[str]", "null"))),
        ("pairs", OptionInfo(("list[list]",), [])),
        ("anything", OptionInfo(("dict",), {})),
        ("inner", OptionInfo(("object",), {"weight": 0.5}, fields=options_of_dataclass(Inner))),
        ("maybe", OptionInfo(("object", "null"), fields=options_of_dataclass(Inner))),
    ],
)
def test_kinds_default_bounds_and_description_come_from_the_field(name, expected):
    assert OPTIONS[name] == expected


def test_options_keep_the_order_of_the_dataclass():
    assert list(OPTIONS)[:3] == ["count", "rate", "fast"]


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("rate", "1e-3", 1e-3),
        ("count", 4.0, 4),
        ("layers", None, None),
        ("kind", 7, 7),
        ("inner", {"weight": 2}, {"weight": 2.0}),
    ],
)
def test_values_are_checked_and_mended(name, value, becomes):
    assert checked_value(OPTIONS, name, value, name, "") == becomes


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count", 0, "at least 1"),
        ("count", 10, "at most 9"),
        ("kind", "z", "'x' or 'y'"),
        ("inner", {"wieght": 1}, "inner.wieght.*id you mean 'weight'"),
        ("inner", {"weight": -1}, "inner.weight.*at least 0"),
    ],
)
def test_wrong_values_are_refused(name, value, words):
    with pytest.raises(SpecError, match=words):
        checked_value(OPTIONS, name, value, name, "")


def test_a_method_gets_typed_options_and_what_is_not_its_own_is_left_alone():
    typed = as_dataclass(Everything, {"count": 5, "inner": {"weight": 1.0}, "maybe": None, "r": 16})
    assert typed == Everything(count=5, inner=Inner(1.0))
    assert as_dataclass(Inner, {}) == Inner()


@dataclass(frozen=True)
class NoDefault:
    rate: float


@dataclass(frozen=True)
class StrangeType:
    act: Callable[[int], int] = abs


@dataclass(frozen=True)
class StrangeBound:
    rate: float = field(default=1.0, metadata=about("", gt=0))


@dataclass(frozen=True)
class DefaultOutOfBounds:
    rate: float = field(default=2.0, metadata=about("", le=1.0))


@dataclass(frozen=True)
class DefaultOfAnotherType:
    rate: float = None  # type: ignore[assignment]


@dataclass(frozen=True)
class UnreadableAnnotation:
    rate: "Unknown" = 1.0  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (NoDefault, r"NoDefault: rate: an option needs a default\. None where"),
        (StrangeType, r"StrangeType: act: a sweep file cannot write this type"),
        (StrangeBound, r"StrangeBound: rate = 'gt': metadata of an option are description, ge, le"),
        (DefaultOutOfBounds, r"DefaultOutOfBounds: rate = 2\.0: the default must be at most 1"),
        (DefaultOfAnotherType, r"DefaultOfAnotherType: rate: the default must be float"),
        (UnreadableAnnotation, r"UnreadableAnnotation: an annotation cannot be read.*Unknown"),
        (int, r"builtins\.int: options are declared by a dataclass"),
    ],
)
def test_a_wrong_declaration_names_class_field_and_rule(declared, words):
    with pytest.raises(InputError, match=words):
        options_of_dataclass(declared)
