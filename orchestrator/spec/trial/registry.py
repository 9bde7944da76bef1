"""Registries: a dict of entries by name, and one way to look a name up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from orchestrator.errors import SpecError, nearest

Entry = TypeVar("Entry")


def find(registry: Mapping[str, Entry], field: str, name: object, where: str = "trial") -> Entry:
    """Return the entry of a name.

    Args:
        registry: Name -> entry.
        field: Field that holds the name.
        name: What was asked for.
        where: File or place that asks.

    Raises:
        SpecError: If there is none; says which names there are, and the nearest.
    """
    # A sweep file may hold anything in the place of a name, lists too.
    if isinstance(name, str) and name in registry:
        return registry[name]
    raise SpecError(where, field, name, f"must be one of {', '.join(registry)}", nearest(str(name), registry))
