"""What a sweep's journal says about earlier sessions: same sweep or another, complete or not, seconds spent."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.errors import StorageError
from orchestrator.spec.stopping import StoppingSpec, WinnerSpec
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.spec.trial.identity import difference, digest
from orchestrator.storage.capacity import Capacity
from orchestrator.storage.journal import read_journal
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.storage.journal_records.sessions import SessionEndRecord, SessionRecord
from orchestrator.storage.journal_records.sweeps import (
    AfterSearchRecord,
    ExtendRecord,
    InputsRecord,
    StandingRecord,
    SweepRecord,
)
from orchestrator.storage.journal_records.trials import MilestoneRecord
from orchestrator.storage.journal_records.users import AddedTrialRecord, ResumeRecord
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.user_actions import waiting_actions

ASKED = (ExtendRecord, ResumeRecord, AddedTrialRecord)
"""Records by which a sweep that was complete has something to train again."""

FORMAT = 2
"""What the sweep file in a `StandingRecord` means; 1, not written down, is `content_of`'s to read."""

FILE = "file "
"""What the name of an input begins with that is a file of an entrypoint."""


@dataclass(frozen=True)
class Spent:
    """Wall and slot seconds of all finished sessions of a sweep."""

    wall_seconds: float = 0.0
    slot_seconds: float = 0.0


def check_same_sweep(folder: SweepFolder, content: Mapping[str, object], where: str) -> None:
    """Raise if the storage holds another sweep of this name.

    Raises:
        StorageError: Says which fields differ.
    """
    told: Iterable[StandingRecord] = read_journal(folder.journal).of(SweepRecord, ExtendRecord)
    known = [content_of(record) for record in told]
    if not known or digest(content) in map(digest, known):
        return
    lines = difference(known[-1], content)
    shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
    raise StorageError(
        where,
        "name",
        folder.name,
        f"the storage '{folder.storage}' holds a sweep of this name with another content ({shown})",
        "choose another name, or set the old one aside with --fresh",
    )


def check_same_inputs(folder: SweepFolder, inputs: Mapping[str, str], where: str) -> None:
    """Raise if what trials read changed since the sweep began: old and new trials could not be compared.

    An entrypoint's files may change until a trial has reached a milestone, so that its code can be mended.

    Raises:
        StorageError: Says which of them changed.
    """
    records = read_journal(folder.journal)
    known = recorded_inputs(records)
    changed = (
        [] if known is None else sorted({name for name in (*known, *inputs) if known.get(name) != inputs.get(name)})
    )
    begun = records.first(MilestoneRecord) is not None
    if changed and (begun or not all(name.startswith(FILE) for name in changed)):
        raise StorageError(
            where,
            "name",
            folder.name,
            f"the {' and the '.join(changed)} changed since this sweep began in '{folder.storage}'",
            "restore the files, choose another name, or set the old sweep aside with --fresh",
        )


def recorded_inputs(records: JournalRecords) -> dict[str, str] | None:
    """Return the digests of what trials read, as a sweep was last run with; None where it has not begun."""
    found = records.last(SweepRecord, InputsRecord)
    return None if found is None else dict(found.inputs)


def set_aside(folder: SweepFolder) -> None:
    """Rename an earlier sweep's folder, so that nothing already computed is lost."""
    if folder.root.exists():
        folder.root.rename(folder.root.with_name(f"{folder.name}.{time.strftime('%Y%m%d-%H%M%S')}"))


def after_search(records: JournalRecords) -> dict[str, Mapping[str, object]]:
    """Return which audit and repeats the latest session was asked for, as `SweepSpec.after_search` says it."""
    last = records.last(AfterSearchRecord)
    if last is None:
        return {"stopping": {"audit": StoppingSpec().audit}, "winner": WinnerSpec().model_dump(mode="json")}
    return {"stopping": last.stopping, "winner": last.winner}


def sweep_content(records: JournalRecords) -> dict[str, object]:
    """Return the resolved sweep file of a journal that has begun, with what was asked for after the search."""
    content = dict(standing_record(records).content)
    asked = after_search(records)
    return {**content, "stopping": {**content["stopping"], **asked["stopping"]}, "winner": asked["winner"]}


def standing_record(records: JournalRecords) -> StandingRecord:
    """Return the record that says what the sweep is now, its resolved file (as today's) and plan: its beginning, or its last extension.

    Raises:
        StopIteration: If it has not begun.
    """
    record = records.last(SweepRecord, ExtendRecord)
    if record is None:
        raise StopIteration
    return replace(record, content=content_of(record))


def content_of(record: StandingRecord) -> dict[str, object]:
    """Return the resolved sweep file of a record, as today's would say the same."""
    content = dict(record.content)
    if record.format < 2 and "evaluation" in content:
        # Detached sets were scored at the end alone, and `when: milestones` was written down for those that said nothing.
        sets = content["evaluation"]
        content["evaluation"] = [{**entry, "when": "end"} if entry.get("detached") else entry for entry in sets]
    return content


def standing_plan(records: JournalRecords) -> SweepPlan:
    """Return the numbers that all trials share, as the sweep stands now."""
    return standing_record(records).plan


def is_complete(records: JournalRecords) -> bool:
    """Whether the last session came to the end of the sweep, and nothing was asked since."""
    told = records.last(SessionEndRecord, SessionRecord, *ASKED)
    return isinstance(told, SessionEndRecord) and told.status == "completed"


def complete_capacity(folder: SweepFolder, asked: Mapping[str, object]) -> Capacity | None:
    """Return the capacity that a complete sweep ran on last.

    Args:
        folder: Where it was run.
        asked: Audit and repeats that are asked for now (`SweepSpec.after_search`).

    Returns:
        None for a sweep that is not complete, that was asked for another audit or other repeats, or for which an action
        of a user or weights to be scored wait.
    """
    if waiting_actions(folder) or folder.milestones_waiting:
        return None
    records = read_journal(folder.journal)
    if not is_complete(records) or after_search(records) != asked:
        return None
    session = records.last(SessionRecord)
    assert session is not None, "a session has ended"
    return Capacity(cpus=session.cpus, gpus=0.0, slots=session.slots, address="")


def spent_before(records: Iterable[JournalRecord], epoch: int) -> Spent:
    """Return the seconds of the sessions before ``epoch``.

    A session that was killed counts from its start to its last record, which is when a milestone was last saved.
    """
    sessions: dict[int, list[JournalRecord]] = {}
    for record in records:
        if record.epoch < epoch:
            sessions.setdefault(record.epoch, []).append(record)
    wall = slots = 0.0
    for entries in sessions.values():
        end = next((record for record in entries if isinstance(record, SessionEndRecord)), None)
        start = next((record for record in entries if isinstance(record, SessionRecord)), None)
        if end is not None:
            wall, slots = wall + end.wall_seconds, slots + end.slot_seconds
        elif start is not None:
            seconds = entries[-1].time - start.time
            wall, slots = wall + seconds, slots + seconds * start.slots
    return Spent(wall, slots)
