"""Digests of files' contents, remembered, so that large files which nobody touched are not read again.

As in git's index, size, inode and both times of change tell whether a file was touched. The time of the last change of the
inode (ctime) cannot be set by a user, so a file whose content and modification time were both put in place shows as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TypedDict

SETTLED_SECONDS = 2.0
"""A file that changed so shortly ago is read again next time: a later change might fall into the same tick of its clock."""

Stamp = list[int]


class _Known(TypedDict):
    """What is remembered of a file."""

    stamp: Stamp
    digest: str


class FileDigests:
    """Digests by file.

    Args:
        path: JSON file in which they are remembered; one that cannot be read or written costs time only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, _Known] = _read(path)
        self._changed = False

    def of(self, file: Path) -> str:
        """Return the digest of a file's content.

        Raises:
            OSError: If it cannot be read.
        """
        name = os.path.abspath(file)
        before = _stamp(name)
        known = self._known.get(name)
        if known is not None and known["stamp"] == before:
            return str(known["digest"])
        began = time.time()
        with open(name, "rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        if _stamp(name) == before and began - max(before[1], before[2]) / 1e9 > SETTLED_SECONDS:
            self._known[name] = {"stamp": before, "digest": digest}
            self._changed = True
        return digest

    def save(self) -> None:
        """Remember what was read; files that are gone are forgotten."""
        if not self._changed:
            return
        kept = {name: entry for name, entry in {**_read(self._path), **self._known}.items() if os.path.exists(name)}
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(kept, stream)
            os.replace(draft, self._path)
            self._changed = False


def _stamp(name: str) -> Stamp:
    """Return size, both times of change in nanoseconds, and inode of a file."""
    found = os.stat(name)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read(path: Path) -> dict[str, _Known]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: {"stamp": list(each["stamp"]), "digest": str(each["digest"])} for name, each in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
