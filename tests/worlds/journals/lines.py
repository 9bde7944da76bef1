"""Journals as text: their lines as they stand in the file, and records written down as a line's kind and fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.kinds import read_record


def journal_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal as they stand in the file; none where a driver died before the first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_times(lines: list[dict[str, Any]]) -> list[str]:
    """Return lines as text, without the moment at which they were written."""
    return [json.dumps({name: value for name, value in line.items() if name != "time"}) for line in lines]


def as_record(kind: str, fields: Mapping[str, Any]) -> JournalRecord:
    """Return the record of a line that says so, for the journal's writer."""
    return read_record({"kind": kind, **fields})
