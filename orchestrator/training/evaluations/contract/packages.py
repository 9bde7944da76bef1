"""Optional packages of some kinds of evaluation."""

from __future__ import annotations

import importlib.util

from orchestrator.errors import DataError

EXTRA = "pip install 'sft-orchestrator[eval]'"


def needed(name: str, *modules: str) -> None:
    """Raise unless the packages that a set needs are there.

    Args:
        name: Name of the set.
        modules: Modules that it imports.

    Raises:
        DataError: Names the first missing one and how to install it.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise DataError(
                f"evaluation.{name}",
                "kind",
                rule=f"needs the package {module.replace('_', '-')}, which is not installed",
                mend=f"install it: {EXTRA}",
            )
