"""Options of what a sweep file names with ``{name: ..., OPTION: ...}``: schedules and optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.errors import nearest
from orchestrator.hyperparameter import is_number
from orchestrator.records import Scalar
from orchestrator.spec.options.declared import options_of_dataclass
from orchestrator.spec.options.option import OptionInfo


@dataclass(frozen=True, slots=True)
class Option:
    """One option. Its default says what it is: a whole number, a number, true or false, or a text.

    Attributes:
        default: Value when it is not given.
        low, high: Bounds of a number, inclusive.
        summary: What it does.
        choices: Texts that it takes.
    """

    default: float | bool | str
    low: float = -math.inf
    high: float = math.inf
    summary: str = ""
    choices: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """What a value must do, as the end of "must ..."."""
        if isinstance(self.default, bool):
            return "be true or false"
        if isinstance(self.default, str):
            return f"be one of {', '.join(self.choices)}"
        what = "be a whole number in" if isinstance(self.default, int) else "lie in"
        return f"{what} {self.low}..{self.high}"

    def accepts(self, value: Scalar) -> bool:
        """Whether a value keeps to the rule."""
        if isinstance(self.default, bool):
            return isinstance(value, bool)
        if isinstance(self.default, str):
            return value in self.choices
        right = is_number(value) and (isinstance(value, int) or isinstance(self.default, float))
        return right and is_number(value) and self.low <= value <= self.high

    def read(self, value: Scalar) -> Scalar:
        """Return a value in the option's type, where it fits: one type, one fingerprint."""
        if isinstance(value, str) and is_number(self.default):
            value = _number(value)
        return float(value) if is_number(value) and isinstance(self.default, float) else value


def _number(text: str) -> Scalar:
    """Return the number that a text writes, such as ``1e-5``, which YAML 1.1 takes for text; the text where it is none."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


Options = Mapping[str, Option]


def read_named(what: str, value: object, names: Iterable[str]) -> tuple[str, dict[str, object]]:
    """Split a name, or ``{name: ..., OPTION: ...}``, into the name and its options as written.

    Args:
        what: What is named, with its article.
        value: As in a sweep file.
        names: Known names, for the message.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return value["name"], {str(key): entry for key, entry in value.items() if key != "name"}
    raise ValueError(f"{what} is a name ({', '.join(names)}) or {{name: ..., OPTION: ...}}, got {value!r}")


def check_known(what: str, name: str, given: Iterable[str], options: Options) -> None:
    """Check that all given options exist.

    Raises:
        ValueError: Names the nearest one, or those that exist.
    """
    unknown = next((key for key in given if key not in options), None)
    if unknown is not None:
        known = ", ".join(options)
        mend = nearest(unknown, options) or (f"it takes {known}" if known else "it takes no options")
        raise ValueError(f"{what} {name!r} has no option {unknown!r}; {mend}")


def check_options(what: str, name: str, given: Mapping[str, Scalar], options: Options) -> None:
    """Check that given options exist and keep to their rules.

    Raises:
        ValueError: States the value and the rule.
    """
    for key, value in given.items():
        if key not in options:
            raise ValueError(f"{what} {name!r} takes {', '.join(options) or 'no options'}, got {key!r}")
        if not options[key].accepts(value):
            raise ValueError(f"{key} of {what} {name!r} must {options[key].rule}, got {value!r}")


def options_of(declared: type[object]) -> dict[str, Option]:
    """Return the options that a dataclass declares: numbers, texts of a `Literal`, true or false, with bounds as metadata.

    Raises:
        InputError: As `orchestrator.spec.options.declared.options_of_dataclass`.
    """
    return {name: _option(info) for name, info in options_of_dataclass(declared).items()}


def _option(info: OptionInfo) -> Option:
    default = info.default
    assert isinstance(default, (int, float, bool, str)), (
        "options of schedules and optimizers are numbers, texts or flags"
    )
    low = -math.inf if info.low is None else info.low
    high = math.inf if info.high is None else info.high
    return Option(default, low, high, info.description, tuple(map(str, info.choices)))
