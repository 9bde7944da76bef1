"""A trial's checkpoints: folders that the user's code fills as it likes, complete or not there.

A folder counts once ``orchestrate.json`` stands in it: that is written last, on disk, and names every file with its
size, the position of the trial, and the training signals since its last milestone. Nothing of it is code.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SEAL = "orchestrate.json"
SignalRow = list[Any]


@dataclass(frozen=True)
class Sealed:
    """A complete checkpoint.

    Args:
        folder: Where it lies.
        samples_seen: Position of the trial.
        elapsed_seconds: Training seconds up to it.
        signals: Rows of the training signals since the last milestone before it.
    """

    folder: Path
    samples_seen: int
    elapsed_seconds: float
    signals: Sequence[SignalRow] = ()


@contextmanager
def written(root: Path, sealed_as: Sealed) -> Iterator[Path]:
    """Give a draft folder to fill; afterwards it is sealed and renamed to ``sealed_as.folder`` in one step.

    An exception in the block leaves nothing behind. Older checkpoints are removed but for the newest before this one:
    a process killed before the milestone is reported goes on from that.

    Raises:
        OSError: If it cannot be written.
    """
    draft = root / f".{sealed_as.folder.name}.{os.getpid()}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        seal(draft, sealed_as)
        _put_in_place(draft, sealed_as.folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    older = [each for each in sealed(root) if each.samples_seen < sealed_as.samples_seen]
    for each in older[:-1]:
        shutil.rmtree(each.folder, ignore_errors=True)


def seal(folder: Path, sealed_as: Sealed) -> None:
    """Bring a folder's files to the disk and mark it as complete.

    Raises:
        OSError: If it cannot be written.
    """
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop(SEAL, None)
    for path in files.values():
        _flush(path)
    values = asdict(sealed_as) | {"folder": folder.name, "files": {name: p.stat().st_size for name, p in files.items()}}
    draft = folder / f".{SEAL}.{os.getpid()}"
    draft.write_text(json.dumps(values), encoding="utf-8")
    _flush(draft)
    draft.replace(folder / SEAL)
    _flush(folder)


def sealed(root: Path) -> list[Sealed]:
    """Return the complete checkpoints below a folder, by position."""
    found = [read_seal(path.parent) for path in root.glob(f"*/{SEAL}")]
    return sorted((each for each in found if each is not None), key=lambda each: each.samples_seen)


def read_seal(folder: Path) -> Sealed | None:
    """Return the checkpoint of a folder; None where it is not complete: no seal, or a file missing or cut short."""
    try:
        values = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in values["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole:
        return None
    return Sealed(folder, values["samples_seen"], values["elapsed_seconds"], values["signals"])


def usable(root: Path, levels: Sequence[int], known: int, known_samples: int) -> Sealed | None:
    """Return the newest complete checkpoint that a trial can go on from; None where it starts anew.

    One that lies at or past a milestone which was never reported is left alone: its scores would be missing.

    Args:
        root: Folder of the trial's checkpoints.
        levels: Milestones in samples.
        known: How many of them were reported.
        known_samples: Samples seen at the last of these.
    """
    limit = levels[known] if known < len(levels) else levels[-1] + 1
    fit = [each for each in sealed(root) if each.samples_seen <= known_samples or each.samples_seen < limit]
    return fit[-1] if fit else None


def _put_in_place(draft: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    """Bring a file's contents, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
