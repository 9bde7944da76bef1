"""Methods of the user's own: a class with an entry, named in the sweep file as ``FILE.py:CLASS``."""

from __future__ import annotations

from orchestrator.plugins.loading import check, is_absent, loaded, loaded_code
from orchestrator.spec.methods.entry import PLUGIN, MethodEntry

_ABSENT = MethodEntry(
    "weights", "a method whose code is not loaded here", 1e-4, "unknown", implementation=PLUGIN, open_options=True
)
"""What stands for a plug-in of a sweep that is only read back: its options are taken as they were written."""


def plugin_method(name: str) -> MethodEntry | None:
    """Return the entry of a plug-in; None where no plug-in has this name.

    Raises:
        PluginError: If the object that the name stands for is no class with an entry.
    """
    found, code = loaded("method", name), loaded_code("method", name)
    if found is None or code is None:
        return _ABSENT if is_absent("method", name) else None
    entry = getattr(found, "entry", None)
    check(
        isinstance(found, type) and isinstance(entry, MethodEntry),
        code,
        "a method is a class with a MethodEntry as `entry`",
        "e.g. entry = MethodEntry('weights', 'what it trains', 1e-5, 'why this rate', implementation=PLUGIN)",
    )
    assert isinstance(entry, MethodEntry)
    check(
        entry.implementation == PLUGIN,
        code,
        f"the entry of a plug-in has implementation=PLUGIN, got {entry.implementation!r}",
    )
    return entry
