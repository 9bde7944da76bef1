"""From a plug-in's object to the entry of a table: what we say of our own things, a plug-in says of its own in the same record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from orchestrator.plugins.code import Kind
from orchestrator.plugins.loading import check, is_absent, loaded, loaded_code

PLUGIN = "plugin:"
"""What stands in an entry in place of its code: the code is what the entry stands on."""

Entry = TypeVar("Entry")
Thing = TypeVar("Thing")


def entry(record: object) -> Callable[[Thing], Thing]:
    """Say what a class or function is, as a decorator: ``@entry(OptimizerEntry("Lion", build=PLUGIN, ...))``."""

    def stand_on(thing: Thing) -> Thing:
        thing.entry = record  # type: ignore[attr-defined]
        return thing

    return stand_on


def plugin_entry(kind: Kind, name: object, record: type[Entry], code_field: str, absent: Entry) -> Entry | None:
    """Return the entry of a plug-in; None where no plug-in has this name.

    Args:
        kind: What is looked for.
        name: As in the sweep file.
        record: What an entry of this kind is.
        code_field: The field of an entry that names its code.
        absent: What stands for a plug-in of a sweep that is only read back, whose code is not loaded.

    Raises:
        PluginError: If the object that the name stands for has no such entry.
    """
    if not isinstance(name, str):
        return None
    thing, code = loaded(kind, name), loaded_code(kind, name)
    if thing is None or code is None:
        return absent if is_absent(kind, name) else None
    found = getattr(thing, "entry", None)
    what, example = kind.replace("_", " "), f"put @entry({record.__name__}(..., {code_field}=PLUGIN)) above it"
    check(isinstance(found, record), code, f"a {what} carries a {record.__name__} as its entry", example)
    assert isinstance(found, record)
    check(
        getattr(found, code_field) == PLUGIN,
        code,
        f"its entry has {code_field}=PLUGIN: the code is {code.name}",
        example,
    )
    return replace(found, **{code_field: thing})  # type: ignore[type-var]
