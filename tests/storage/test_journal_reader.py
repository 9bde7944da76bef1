"""Following a journal gives, at every moment, what reading it whole gives."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StorageError
from orchestrator.storage.journal import JournalReader, read_journal
from orchestrator.storage.journal_records.kinds import UnknownRecord

RECORDS = st.lists(
    st.fixed_dictionaries({"kind": st.sampled_from(["event", "moment"]), "text": st.text(max_size=20)}), max_size=8
)


@given(RECORDS, st.lists(st.integers(0, 400), max_size=6))
def test_reader_equals_the_whole_journal_wherever_it_is_cut(records: list[dict[str, str]], cuts: list[int]) -> None:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        reader = JournalReader(path)
        assert reader.read() == []
        for end in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
            path.write_bytes(data[:end])
            assert reader.read() == read_journal(path)


def test_journal_that_was_begun_anew_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind": "event", "n": 1}\n{"kind": "event"}\n')
    reader = JournalReader(path)
    assert len(reader.read()) == 2
    path.write_text('{"kind": "event", "n": 2}\n')
    assert [record.values for record in reader.read().of(UnknownRecord)] == [{"n": 2}]


def test_damaged_line_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind": "sweep"}\n')
    reader = JournalReader(path)
    reader.read()
    path.write_text('{"kind": "sweep"}\n{"kind": \n')
    with pytest.raises(StorageError, match=r"journal\.jsonl:2"):
        reader.read()
