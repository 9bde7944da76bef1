"""The journal: what was written comes back, torn lines do not, and one writer at a time."""

import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StorageError, SweepInterruptedError
from orchestrator.storage.journal import Journal, read_journal
from orchestrator.storage.journal_records.kinds import UnknownRecord
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.storage.journal_records.sessions import SessionEndRecord
from orchestrator.storage.journal_records.sweeps import InputsRecord
from tests.worlds.journals.lines import as_record, journal_lines


def kinds(path: Path) -> list[str]:
    return [line["kind"] for line in journal_lines(path)]


def said(records: JournalRecords, key: str) -> list[Any]:
    return [record.values[key] for record in records.of(UnknownRecord)]


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "journal.jsonl"
    journal = Journal(path)
    journal.append(InputsRecord(inputs={"data": "ä"}), as_record("event", {"trial": "t1"}))
    journal.append(SessionEndRecord(status="two\nlines", wall_seconds=math.nan, slot_seconds=1.0))
    journal.close()
    records = read_journal(path)
    assert repr(records) == repr(Journal(path).records) != "[]"  # by text: nan equals nothing
    assert kinds(path) == ["inputs", "event", "session_end"]
    (inputs,), (end,) = records.of(InputsRecord), records.of(SessionEndRecord)
    assert (inputs.inputs, inputs.epoch, end.status) == ({"data": "ä"}, 1, "two\nlines")
    assert math.isnan(end.wall_seconds)


def test_absent_journal_is_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none.jsonl") == []
    assert not any(tmp_path.iterdir())


def test_records_in_memory_equal_those_on_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append(as_record("a", {"x": 1}), InputsRecord(inputs={"x": "1"}))
    assert journal.records == read_journal(journal.path)
    assert [record.inputs for record in journal.records.of(InputsRecord)] == [{"x": "1"}]


@given(st.integers(0, 400))
@settings(deadline=None, max_examples=60)
def test_journal_cut_anywhere_keeps_its_whole_lines(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "j.jsonl"
    first = Journal(path)
    for number in range(5):
        first.append(as_record("event", {"number": number}))
    first.close()
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    second = Journal(path)
    assert said(second.records, "number") == list(range(whole))
    second.append(as_record("event", {"number": "next"}))
    assert said(read_journal(path), "number") == [*range(whole), "next"]


@pytest.mark.parametrize("damage", [b'{"kind": "ev', b"\xff\xfe", b"5", b"[]", b"{}"])
def test_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append(as_record("event", {}))
    journal.close()
    path.write_bytes(path.read_bytes() + damage + b"\n" + path.read_bytes())
    with pytest.raises(StorageError, match="this line of the journal is damaged") as caught:
        Journal(path)
    assert caught.value.where == f"{path}:2"
    assert "--fresh" in caught.value.mend
    assert caught.value.exit_code == 2


def test_newer_driver_stops_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    old = Journal(path)
    old.append(as_record("event", {"by": "old"}))
    new = Journal(path)
    assert (old.epoch, new.epoch) == (1, 2)
    with pytest.raises(SweepInterruptedError, match="another driver has taken over"):
        old.append(as_record("event", {"by": "old again"}))
    new.append(as_record("event", {"by": "new"}))
    assert said(read_journal(path), "by") == ["old", "new"]


def test_each_session_has_its_own_epoch(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    epochs = []
    for _ in range(3):
        journal = Journal(path)
        epochs.append(journal.epoch)
        journal.close()
    assert epochs == [1, 2, 3]


def test_values_without_a_json_form_leave_the_file_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    with pytest.raises(TypeError):
        journal.append(as_record("event", {"x": 1}), as_record("event", {"x": object()}))
    assert read_journal(journal.path) == journal.records == []


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: the kernel then refuses writes as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_interrupts_and_leaves_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append(as_record("event", {"number": 0}))
    before = journal.path.read_bytes()
    with no_room_beyond(len(before) + 30), pytest.raises(SweepInterruptedError, match="is full; free some space"):
        journal.append(as_record("event", {"number": 1, "long": "x" * 200}))
    assert journal.path.read_bytes() == before
    assert len(journal.records) == 1
    journal.append(as_record("event", {"number": 2}))
    journal.close()
    assert said(read_journal(journal.path), "number") == [0, 2]


def test_lines_are_plain_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append(as_record("event", {"number": 1}))
    (line,) = journal.path.read_text().splitlines()
    assert json.loads(line)["kind"] == "event"
    assert kinds(journal.path) == ["event"]
