"""What a sweep file may say about methods: names, options, learning-rate ranges. No torch, no peft.

`METHODS` is complete: `orchestrator.training.methods.METHODS` has the same names (tested).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import SpecError, nearest
from orchestrator.spec.methods.entries import ENTRIES, EXCLUDED, FAMILIES, FIELDS_FILE
from orchestrator.spec.methods.entry import MethodEntry

__all__ = [
    "EXCLUDED",
    "FAMILIES",
    "METHODS",
    "MethodInfo",
    "OptionInfo",
    "check_options",
    "default_learning_rate_range",
    "method_info",
    "method_summary_table",
    "resolve_options",
]

RANGE_FACTOR = 10.0
"""The default learning-rate range is ``centre / 10`` to ``centre * 10``, log-uniform."""

TARGET_WORDS = ("all-linear", "query-value", "key-value-down", "value", "norms", "embeddings")
"""Words that `target_modules` takes besides module names; resolved for each architecture."""

_PATTERNS = {"pissa_niter_[number of iters]": re.compile(r"pissa_niter_\d+")}


@dataclass(frozen=True)
class OptionInfo:
    """One option of a method.

    Attributes:
        kinds: Accepted JSON kinds: int, float, bool, str, null, dict, list[int], list[str], choice, object, ...
        default: Value when not given; None often means "chosen from the model".
        choices: Accepted values besides those of the other kinds.
        low, high: Inclusive bounds of numbers.
        fields: Options of a nested object (kind ``object``).
    """

    kinds: tuple[str, ...]
    default: Any = None
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    fields: Mapping[str, OptionInfo] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodInfo:
    """What is known about a method without importing it.

    Attributes:
        learning_rate: Default log-uniform range (low, high).
        learning_rate_evidence: Where the middle of the range comes from.
        default_options: Options that differ from the option's own default.
        fixed_options: Options that define the method and cannot be given.
        options: Every option that can be given.
        starts_at_base: Whether the untrained method, with its default options, equals the base model.
        merges: Whether the result folds into plain weights of the base architecture.
        family_cohort: Trials of the same cohort may be compared by their early dynamics; the family.
        peft_config: Name of the peft config class, empty for methods of this package.
    """

    name: str
    family: str
    summary: str
    learning_rate: tuple[float, float]
    learning_rate_evidence: str
    default_options: dict[str, Any]
    fixed_options: dict[str, Any]
    options: dict[str, OptionInfo]
    starts_at_base: bool
    merges: bool
    family_cohort: str
    peft_config: str = ""


_SAMPLES = OptionInfo(("int",), 64, low=1)
OWN_OPTIONS: dict[str, dict[str, OptionInfo]] = {
    "freeze_lower": {
        "layers": OptionInfo(("int", "null"), None, low=0),
        "share": OptionInfo(("float", "null"), 0.5, low=0.0, high=1.0),
    },
    "llrd": {"decay": OptionInfo(("float",), 0.9, low=1e-6, high=1.0)},
    "bitfit": {"add_biases": OptionInfo(("bool",), True)},
    "lora_plus": {"learning_rate_ratio": OptionInfo(("float",), 16.0, low=1e-6)},
    "lora_riemannian": {"damping": OptionInfo(("float",), 1e-2, low=0.0)},
    "eva": {"calibration_samples": _SAMPLES},
    "corda": {"calibration_samples": _SAMPLES},
    "lora_ga": {"calibration_samples": _SAMPLES},
}
"""Options that are not fields of a peft config."""

EXCLUSIVE: dict[str, tuple[str, str]] = {
    "freeze_lower": ("layers", "share"),
    "oft": ("r", "oft_block_size"),
    "boft": ("boft_block_size", "boft_block_num"),
}
"""Pairs of options of which only one can be given."""


SPECIAL_FIELDS = frozenset(
    [
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "kasa_config",
        "velora_config",
        "monteclora_config",
        "use_bdlora",
        "alora_invocation_tokens",
    ]
)
"""Fields of LoraConfig that belong to a method of their own name and to no other."""


def method_info(method: str, where: str = "") -> MethodInfo:
    """Return the entry of a method.

    Raises:
        SpecError: If there is no such method; names the nearest one, or why it is excluded.
    """
    if method in METHODS:
        return METHODS[method]
    if method in EXCLUDED:
        raise SpecError(where, "method", method, f"this method cannot be swept: {EXCLUDED[method]}")
    mend = nearest(method, METHODS) or "see the list of methods"
    raise SpecError(where, "method", method, "there is no method of this name", mend)


def default_learning_rate_range(method: str) -> tuple[float, float]:
    """Return the method's default log-uniform learning-rate range (low, high)."""
    return method_info(method).learning_rate


def check_options(method: str, options: Mapping[str, Any], where: str = "") -> None:
    """Check a method's name and the names and types of its options.

    Raises:
        SpecError: Naming the option, its value, the rule, and the nearest known name.
    """
    resolve_options(method, options, where)


def resolve_options(method: str, options: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return the given options with types mended (``"1e-5"`` to a number) over the method's defaults.

    Raises:
        SpecError: As `check_options`.
    """
    info = method_info(method, where)
    given = {}
    for name, value in options.items():
        if name in info.fixed_options:
            fixed = info.fixed_options[name]
            raise SpecError(where, f"{method}.{name}", value, f"this method fixes {name} to {fixed!r}", "leave it out")
        if name not in info.options:
            # A sweep file writes a method's learning rate among its options.
            raise _unknown(info.options, name, value, f"{method}.{name}", where, ("learning_rate",))
        given[name] = _coerce(info.options, name, value, f"{method}.{name}", where)
    pair = EXCLUSIVE.get(method, ())
    if len([name for name in pair if given.get(name)]) > 1:
        raise SpecError(where, method, dict(options), f"only one of {' and '.join(pair)} can be given")
    dropped = set(pair) if any(name in given for name in pair) else set()
    defaults = {name: value for name, value in info.default_options.items() if name not in dropped}
    return {**defaults, **given}


def method_summary_table() -> list[dict[str, str]]:
    """Return one row of text cells per method: name, family, learning rates, start, merge, summary."""
    return [
        {
            "method": info.name,
            "family": info.family,
            "learning rate": f"{info.learning_rate[0]:.2g} to {info.learning_rate[1]:.2g}",
            "starts at the base": "yes" if info.starts_at_base else "no",
            "merges": "yes" if info.merges else "no",
            "what it trains": info.summary,
        }
        for info in METHODS.values()
    ]


def _unknown(
    known: Mapping[str, OptionInfo], name: str, value: Any, path: str, where: str, beside: tuple[str, ...] = ()
) -> SpecError:
    mend = nearest(name, (*known, *beside)) or (
        f"known options: {', '.join(sorted(known))}" if known else "it takes no options"
    )
    return SpecError(where, path, value, "there is no option of this name", mend)


def _coerce(known: Mapping[str, OptionInfo], name: str, value: Any, path: str, where: str) -> Any:
    if name not in known:
        raise _unknown(known, name, value, path, where)
    option = known[name]
    if "object" in option.kinds and isinstance(value, Mapping):
        return {key: _coerce(option.fields, key, item, f"{path}.{key}", where) for key, item in value.items()}
    for kind in sorted(option.kinds, key=_KIND_ORDER.index):
        fits, coerced = _fit(kind, value, option)
        if fits:
            _check_bounds(option, coerced, path, where)
            return coerced
    mend = nearest(value, map(str, option.choices)) if isinstance(value, str) and option.choices else ""
    raise SpecError(where, path, value, f"must be {_wanted(name, option)}", mend)


def _check_bounds(option: OptionInfo, value: Any, path: str, where: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if option.low is not None and value < option.low:
        raise SpecError(where, path, value, f"must be at least {option.low:g}")
    if option.high is not None and value > option.high:
        raise SpecError(where, path, value, f"must be at most {option.high:g}")


_KIND_ORDER = [
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
]


def _fit(kind: str, value: Any, option: OptionInfo) -> tuple[bool, Any]:
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


def _number(value: Any, kind: str) -> int | float | None:
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


def _matches_pattern(value: Any, choices: tuple[Any, ...]) -> bool:
    return isinstance(value, str) and any(
        _PATTERNS[choice].fullmatch(value) for choice in choices if isinstance(choice, str) and choice in _PATTERNS
    )


def _wanted(name: str, option: OptionInfo) -> str:
    kinds = [kind for kind in option.kinds if kind not in ("choice", "null")]
    named = " or ".join([*kinds, *(repr(choice) for choice in option.choices)]).replace("object", "a mapping")
    return f"{named}; besides module names: {', '.join(TARGET_WORDS)}" if name == "target_modules" else named


def _option(raw: Mapping[str, Any]) -> OptionInfo:
    nested = raw.get("nested", {}).get("fields", {})
    fields = {name: _option(inner) for name, inner in nested.items()}
    return OptionInfo(tuple(raw["kinds"]), raw["default"], tuple(raw.get("choices", ())), fields=fields)


def _info(name: str, entry: MethodEntry, configs: Mapping[str, Any]) -> MethodInfo:
    raw = configs.get(entry.config, {})
    special = SPECIAL_FIELDS - entry.defaults.keys() - ({"alora_invocation_tokens"} if name == "alora" else set())
    options = {key: _option(value) for key, value in raw.items() if key not in entry.fixed and key not in special}
    options.update(OWN_OPTIONS.get(name, {}))
    return MethodInfo(
        name=name,
        family=entry.family,
        summary=entry.summary,
        learning_rate=(entry.centre / RANGE_FACTOR, entry.centre * RANGE_FACTOR),
        learning_rate_evidence=entry.evidence,
        default_options=dict(entry.defaults),
        fixed_options=dict(entry.fixed),
        options=options,
        starts_at_base=entry.starts,
        merges=entry.merges,
        family_cohort=entry.family,
        peft_config=entry.config,
    )


_CONFIGS: dict[str, Any] = json.loads(FIELDS_FILE.read_text(encoding="utf-8"))["configs"]

METHODS: dict[str, MethodInfo] = {name: _info(name, entry, _CONFIGS) for name, entry in ENTRIES.items()}
"""Every method that a sweep file can name."""
