"""Is this value one that the option takes: kinds, choices, bounds; ``"1e-5"`` becomes a number."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.errors import SpecError, nearest
from orchestrator.spec.options.option import OptionInfo

TARGET_WORDS = ("all-linear", "query-value", "key-value-down", "value", "norms", "embeddings")
"""Words that `target_modules` takes besides module names; resolved for each architecture."""

_PATTERNS = {"pissa_niter_[number of iters]": re.compile(r"pissa_niter_\d+")}

_KINDS_IN_ORDER_OF_TRIAL = (
    "null",
    "bool",
    "int",
    "float",
    "choice",
    "list[int]",
    "list[list]",
    "list[str]",
    "dict",
    "object",
    "str",
)


def checked_value(
    known: Mapping[str, OptionInfo], name: str, value: object, path: str, where: str, beside: tuple[str, ...] = ()
) -> object:
    """Return the value in the kind that the option wants.

    Args:
        known: All options that there are.
        name: The option.
        value: What was given.
        path: Dotted name of the option, for messages.
        where: File or place, for messages.
        beside: Further names that a slip of the pen may have meant.

    Raises:
        SpecError: If there is no such option, or it does not take this value.
    """
    if name not in known:
        raise _unknown(known, name, value, path, where, beside)
    option = known[name]
    if "object" in option.kinds and isinstance(value, Mapping):
        return {key: checked_value(option.fields, key, item, f"{path}.{key}", where) for key, item in value.items()}
    for kind in sorted(option.kinds, key=_KINDS_IN_ORDER_OF_TRIAL.index):
        fits, coerced = _fit(kind, value, option)
        if fits:
            _check_bounds(option, coerced, path, where)
            return coerced
    mend = nearest(value, map(str, option.choices)) if isinstance(value, str) and option.choices else ""
    raise SpecError(where, path, value, f"must be {_wanted(name, option)}", mend)


def _unknown(
    known: Mapping[str, OptionInfo], name: str, value: object, path: str, where: str, beside: tuple[str, ...]
) -> SpecError:
    mend = nearest(name, (*known, *beside)) or (
        f"known options: {', '.join(sorted(known))}" if known else "it takes no options"
    )
    return SpecError(where, path, value, "there is no option of this name", mend)


def _check_bounds(option: OptionInfo, value: object, path: str, where: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if option.low is not None and value < option.low:
        raise SpecError(where, path, value, f"must be at least {option.low:g}")
    if option.high is not None and value > option.high:
        raise SpecError(where, path, value, f"must be at most {option.high:g}")


def _fit(kind: str, value: object, option: OptionInfo) -> tuple[bool, object]:
    """Return whether a value fits a kind, and the value in that kind."""
    if kind in ("int", "float"):
        number = _number(value, kind)
        return number is not None, number
    if kind == "choice":
        return value in option.choices or _matches_pattern(value, option.choices), value
    if kind.startswith("list["):
        member = {"int": int, "str": str, "list": list | tuple}[kind[5:-1]]
        return isinstance(value, list | tuple) and all(isinstance(item, member) for item in value), value
    simple = {"null": type(None), "bool": bool, "str": str, "dict": Mapping}.get(kind)
    return simple is not None and isinstance(value, simple), value


def _number(value: object, kind: str) -> int | float | None:
    """Read a number; text such as ``1e-5`` too, which YAML 1.1 takes for a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if kind == "float":
        return number if number == number and abs(number) != float("inf") else None
    return int(number) if number.is_integer() else None


def _matches_pattern(value: object, choices: tuple[object, ...]) -> bool:
    return isinstance(value, str) and any(
        _PATTERNS[choice].fullmatch(value) for choice in choices if isinstance(choice, str) and choice in _PATTERNS
    )


def _wanted(name: str, option: OptionInfo) -> str:
    kinds = [kind for kind in option.kinds if kind not in ("choice", "null")]
    named = " or ".join([*kinds, *(repr(choice) for choice in option.choices)]).replace("object", "a mapping")
    return f"{named}; besides module names: {', '.join(TARGET_WORDS)}" if name == "target_modules" else named
