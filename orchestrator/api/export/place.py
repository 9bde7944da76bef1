"""The folder that an export writes: free, or replaced as a whole once the new one stands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StorageError

CAPSULE = "orchestrate.json"
_MODEL_FILES = frozenset({"config.json", "adapter_config.json", CAPSULE})


def check_place(place: Path, force: bool) -> None:
    """Raise unless the folder is free, or holds an exported model that may be replaced."""
    if not place.exists():
        return
    if not place.is_dir():
        raise StorageError("--to", value=str(place), rule="this is a file", mend="choose a folder that does not exist")
    names = {entry.name for entry in place.iterdir()}
    if not names:
        return
    if not force:
        raise StorageError(
            "--to",
            value=str(place),
            rule="this folder is not empty",
            mend="choose another, or replace the model in it with --force",
        )
    if not names & _MODEL_FILES:
        raise StorageError(
            "--to",
            value=str(place),
            rule=f"this folder holds no model but {', '.join(sorted(names)[:3])}",
            mend="choose another; --force replaces exported models only",
        )


@contextmanager
def drafted(place: Path) -> Iterator[Path]:
    """Give an empty folder to fill; afterwards it stands at its place. An exception leaves nothing behind."""
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    try:
        draft.mkdir(parents=True)
        yield draft
        _put_in_place(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put_in_place(draft: Path, place: Path) -> None:
    """Move the finished folder to its place; what is replaced goes only once the new one stands."""
    mask = os.umask(0)
    os.umask(mask)
    for file in (path for path in draft.rglob("*") if path.is_file()):
        file.chmod(0o666 & ~mask)  # safetensors writes files that only their owner can read
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    if place.exists():
        place.rename(old)
    draft.rename(place)
    shutil.rmtree(old, ignore_errors=True)
