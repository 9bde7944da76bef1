"""A file under a second name: for files that are never written in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link_or_copy(source: Path | str, place: Path | str) -> str:
    """Link a file, or copy it where the storage knows no links; returns the new place.

    Raises:
        OSError: If it can be neither linked nor copied.
    """
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
    return str(place)
