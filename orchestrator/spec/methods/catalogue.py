"""What a sweep file may say about methods: names, options, learning-rate ranges. No torch, no peft.

Everything is worked out from `orchestrator.spec.methods.entries.ENTRIES`, where `method_entry` looks names up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import SpecError, nearest
from orchestrator.plugins.entries import PLUGIN
from orchestrator.plugins.registry import Registry
from orchestrator.spec.methods.entries import ENTRIES, EXCLUDED
from orchestrator.spec.methods.entry import MethodEntry
from orchestrator.spec.methods.peft_options import peft_options
from orchestrator.spec.options.option import OptionInfo
from orchestrator.spec.options.values import checked_value

_ABSENT = MethodEntry(
    "weights", "a method whose code is not loaded here", 1e-4, "unknown", implementation=PLUGIN, open_options=True
)
_KNOWN = Registry(ENTRIES, "method", "implementation", _ABSENT)

RANGE_FACTOR = 10.0
"""The default learning-rate range is ``centre / 10`` to ``centre * 10``, log-uniform."""


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


def method_entry(method: str, where: str = "") -> MethodEntry:
    """Return the entry of a method: the one place where names of methods are looked up.

    Raises:
        SpecError: If there is no such method; names the nearest one, or why it is excluded.
    """
    found = _KNOWN.get(method)
    if found is not None:
        return found
    if method in EXCLUDED:
        raise SpecError(where, "method", method, f"this method cannot be swept: {EXCLUDED[method]}")
    mend = nearest(method, ENTRIES) or "see the list of methods"
    raise SpecError(where, "method", method, "there is no method of this name", mend)


def method_info(method: str, where: str = "") -> MethodInfo:
    """Return what is known about a method.

    Raises:
        SpecError: If there is no such method; names the nearest one, or why it is excluded.
    """
    return _described(method, method_entry(method, where))


def default_learning_rate_range(method: str) -> tuple[float, float]:
    """Return the method's default log-uniform learning-rate range (low, high)."""
    return method_info(method).learning_rate


def check_options(method: str, options: Mapping[str, object], where: str = "") -> None:
    """Check a method's name and the names and types of its options.

    Raises:
        SpecError: Naming the option, its value, the rule, and the nearest known name.
    """
    resolve_options(method, options, where)


def resolve_options(method: str, options: Mapping[str, object], where: str = "") -> dict[str, object]:
    """Return the given options with types mended (``"1e-5"`` to a number) over the method's defaults.

    Raises:
        SpecError: As `check_options`.
    """
    info = method_info(method, where)
    if method_entry(method).open_options:
        return dict(options)
    given: dict[str, object] = {}
    for name, value in options.items():
        if name in info.fixed_options:
            fixed = info.fixed_options[name]
            raise SpecError(where, f"{method}.{name}", value, f"this method fixes {name} to {fixed!r}", "leave it out")
        # A sweep file writes a method's learning rate among its options.
        given[name] = checked_value(info.options, name, value, f"{method}.{name}", where, beside=("learning_rate",))
    exclusive = method_entry(method).exclusive
    if len([name for name in exclusive if given.get(name)]) > 1:
        raise SpecError(where, method, dict(options), f"only one of {' and '.join(exclusive)} can be given")
    dropped = set(exclusive) if any(name in given for name in exclusive) else set()
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


class _Catalogue(Mapping[str, MethodInfo]):
    """What is known of each entry of a table, worked out when it is asked for."""

    def __init__(self, entries: Registry[MethodEntry]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> MethodInfo:
        # A plug-in is found by its name, too, though it is not listed.
        found = self._entries.get(name)
        if found is None:
            raise KeyError(name)
        return _described(name, found)

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)


_known: dict[str, tuple[MethodEntry, MethodInfo]] = {}


def _described(name: str, entry: MethodEntry) -> MethodInfo:
    """Return what follows from an entry, worked out once for each."""
    if name not in _known or _known[name][0] is not entry:
        _known[name] = entry, _info(name, entry)
    return _known[name][1]


def _info(name: str, entry: MethodEntry) -> MethodInfo:
    return MethodInfo(
        name=name,
        family=entry.family,
        summary=entry.summary,
        learning_rate=(entry.centre / RANGE_FACTOR, entry.centre * RANGE_FACTOR),
        learning_rate_evidence=entry.evidence,
        default_options=entry.all_defaults,
        fixed_options=dict(entry.fixed),
        options={**_config_options(entry), **entry.own_options},
        starts_at_base=entry.starts,
        merges=entry.merges,
        family_cohort=entry.family,
        peft_config=entry.config,
    )


def _config_options(entry: MethodEntry) -> dict[str, OptionInfo]:
    """Return the fields of the entry's peft config, without those that it fixes or that belong to another method."""
    fields = peft_options(entry.config) if entry.config else {}
    claimed = {name for other in ENTRIES.values() for name in other.own_fields} - {*entry.own_fields}
    return {name: option for name, option in fields.items() if name not in entry.fixed and name not in claimed}


METHODS: Mapping[str, MethodInfo] = _Catalogue(_KNOWN)
"""Every method that a sweep file can name; follows `ENTRIES`."""
