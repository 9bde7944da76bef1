"""``methods``: what can stand under ``search_space.method``."""

from __future__ import annotations

from orchestrator.errors import SpecError, nearest
from orchestrator.spec.methods.catalogue import METHODS, MethodInfo
from orchestrator.spec.methods.entry import FAMILIES


def list_methods(family: str | None = None) -> tuple[MethodInfo, ...]:
    """Return every method, or those of one family.

    Raises:
        SpecError: If there is no such family; names the nearest.
    """
    if family is not None and family not in FAMILIES:
        raise SpecError(
            "--family",
            value=family,
            rule="there is no family of this name",
            mend=nearest(family, FAMILIES) or f"known: {', '.join(FAMILIES)}",
        )
    return tuple(info for info in METHODS.values() if family in (None, info.family))
