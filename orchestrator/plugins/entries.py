"""What a plug-in says of itself, in the same record in which we say it of our own things; see `orchestrator.plugins.registry`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

PLUGIN = "plugin:"
"""What stands in an entry in place of its code: the code is what the entry stands on."""

Thing = TypeVar("Thing")


def entry(record: object) -> Callable[[Thing], Thing]:
    """Say what a class or function is, as a decorator: ``@entry(OptimizerEntry("Lion", build=PLUGIN, ...))``."""

    def stand_on(thing: Thing) -> Thing:
        thing.entry = record  # type: ignore[attr-defined]
        return thing

    return stand_on
