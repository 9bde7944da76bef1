"""What a sweep's journal says about earlier sessions: same sweep or another, complete or not, seconds spent."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.spec.identity import difference, digest
from orchestrator.tuning.cluster import Capacity
from orchestrator.tuning.journal import Record, read_journal
from orchestrator.tuning.layout import SweepFolder


@dataclass(frozen=True)
class Spent:
    """Wall and slot seconds of all finished sessions of a sweep."""

    wall_seconds: float = 0.0
    slot_seconds: float = 0.0


def check_same_sweep(folder: SweepFolder, content: Mapping[str, Any], where: str) -> None:
    """Raise if the storage holds another sweep of this name.

    Raises:
        StorageError: Says which fields differ.
    """
    first = _first(folder)
    if first is None or digest(first["content"]) == digest(content):
        return
    lines = difference(first["content"], content)
    shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
    raise StorageError(
        where, "name", folder.name,
        f"the storage '{folder.storage}' holds a sweep of this name with another content ({shown})",
        "choose another name, or set the old one aside with --fresh",
    )  # fmt: skip


def check_same_inputs(folder: SweepFolder, inputs: Mapping[str, str], where: str) -> None:
    """Raise if training data or base model changed since the sweep began: old and new trials could not be compared.

    Raises:
        StorageError: Says which of them changed.
    """
    first = _first(folder)
    changed = [] if first is None else [name for name, value in inputs.items() if first["inputs"].get(name) != value]
    if changed:
        raise StorageError(
            where, "name", folder.name,
            f"the {' and the '.join(changed)} changed since this sweep began in '{folder.storage}'",
            "restore the files, choose another name, or set the old sweep aside with --fresh",
        )  # fmt: skip


def set_aside(folder: SweepFolder) -> None:
    """Rename an earlier sweep's folder, so that nothing already computed is lost."""
    if folder.root.exists():
        folder.root.rename(folder.root.with_name(f"{folder.name}.{time.strftime('%Y%m%d-%H%M%S')}"))


def complete_capacity(folder: SweepFolder) -> Capacity | None:
    """Return the capacity that a complete sweep ran on last; None for a sweep that is not complete."""
    records = read_journal(folder.journal)
    ends = [record for record in records if record["kind"] == "session_end"]
    if not ends or ends[-1]["status"] != "completed":
        return None
    session = next(record for record in reversed(records) if record["kind"] == "session")
    return Capacity(cpus=session["cpus"], gpus=0.0, slots=session["slots"], address="")


def spent_before(records: Iterable[Record], epoch: int) -> Spent:
    """Return the seconds of the sessions before ``epoch``.

    A session that was killed counts from its start to its last record, which is when a milestone was last saved.
    """
    sessions: dict[int, list[Record]] = {}
    for record in records:
        if record["epoch"] < epoch:
            sessions.setdefault(record["epoch"], []).append(record)
    wall = slots = 0.0
    for entries in sessions.values():
        end = next((record for record in entries if record["kind"] == "session_end"), None)
        start = next((record for record in entries if record["kind"] == "session"), None)
        if end is not None:
            wall, slots = wall + end["wall_seconds"], slots + end["slot_seconds"]
        elif start is not None:
            seconds = entries[-1]["time"] - start["time"]
            wall, slots = wall + seconds, slots + seconds * start["slots"]
    return Spent(wall, slots)


def _first(folder: SweepFolder) -> Record | None:
    return next((record for record in read_journal(folder.journal) if record["kind"] == "sweep"), None)
