"""What a reference to a file, folder or hub id most likely means when nothing stands there."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.errors import nearest

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def looks_local(reference: str) -> bool:
    """Whether a reference can only mean a file or folder, not a hub id."""
    return (
        reference.startswith(("/", "./", "../", "~", "\\"))
        or not HUB_ID.fullmatch(reference)
        or (Path(reference).parent != Path() and Path(reference).parent.is_dir())
    )


def nearest_path(path: Path) -> str:
    """Name the entry nearest to a missing path, in the first of its parents that exists; empty when none is near."""
    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    try:
        found = nearest(missing.name, sorted(entry.name for entry in missing.parent.iterdir()))
    except OSError:
        # A parent that cannot be listed has no names to suggest.
        return ""
    if missing == path:
        return found
    return f"the folder {missing} does not exist{'; ' + found if found else ''}"
