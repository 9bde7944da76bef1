"""Records: their lines are those of the journals of before, and what versions before and after write is read."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StorageError
from orchestrator.records import Action, Decision, Role, as_recorded
from orchestrator.storage.journal import Journal, as_line, read_journal
from orchestrator.storage.journal_records.kinds import KINDS, UnknownRecord
from orchestrator.storage.journal_records.sessions import SessionEndRecord, SessionRecord, TrackingRecord
from orchestrator.storage.journal_records.sweeps import AfterSearchRecord, ExtendRecord, SweepRecord
from orchestrator.storage.journal_records.trials import FailureRecord, MilestoneRecord, TrialRecord
from orchestrator.storage.journal_records.users import ActionRecord
from orchestrator.storage.trial_entries import read_entries
from tests.worlds.journals.asked_sweep import run_asked_sweep, write_sessions
from tests.worlds.journals.lines import journal_lines, without_times

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "journal"
TRIALS, SESSIONS = GOLDEN / "trials.jsonl", GOLDEN / "sessions.jsonl"


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("time.localtime", __import__("time").gmtime)


# -- journals of before ----------------------------------------------------------------------------


def test_every_kind_stands_in_the_golden_journals() -> None:
    assert {line["kind"] for path in (TRIALS, SESSIONS) for line in journal_lines(path)} == set(KINDS)


@pytest.mark.parametrize("path", [TRIALS, SESSIONS], ids=lambda path: path.stem)
def test_a_journal_of_before_is_written_as_it_was(path: Path) -> None:
    records = read_journal(path)
    assert [json.dumps(as_line(record)) for record in records] == path.read_text().splitlines()
    assert not any(isinstance(record, UnknownRecord) for record in records)


def test_a_journal_of_before_gives_the_same_trials() -> None:
    entries = read_entries(read_journal(TRIALS)).values()
    assert [json.dumps(asdict(entry, dict_factory=as_recorded)) for entry in entries] == (
        GOLDEN / "entries.jsonl"
    ).read_text().splitlines()


@pytest.mark.usefixtures("in_utc")
def test_a_sweep_writes_the_lines_of_before(tmp_path: Path) -> None:
    journal = run_asked_sweep(tmp_path)
    assert without_times(journal_lines(journal)) == without_times(journal_lines(TRIALS))


def test_sessions_write_the_lines_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = write_sessions(tmp_path, monkeypatch)
    journal.append(TrackingRecord(run_ids={"": "r0", "t1": "r1"}, experiment_id="7"))
    journal.append(SessionEndRecord(status="interrupted", wall_seconds=1.5, slot_seconds=3.0))
    journal.close()
    text = journal.path.read_text().replace(str(tmp_path), "/root/of/it")
    journal.path.write_text(text.replace(journal_lines(journal.path)[0]["sweep_id"], "anew"))
    first = journal_lines(SESSIONS)[0]["sweep_id"]
    golden = [line.replace(first, "anew") for line in without_times(journal_lines(SESSIONS))]
    assert without_times(journal_lines(journal.path)) == golden


# -- other versions --------------------------------------------------------------------------------


def read_lines(path: Path, *lines: dict[str, Any]) -> Any:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_journal(path)


def test_fields_that_came_later_may_be_absent(tmp_path: Path) -> None:
    plan = {"trials": 3, "samples": 64, "levels": [16, 64], "rung_indices": [0]}
    decision = {"trial_id": "t", "samples_seen": 0, "action": "STOP", "rule": "failure", "cohort": "", "reason": "why"}
    records = read_lines(
        tmp_path / "j.jsonl",
        {"kind": "sweep", "sweep_id": "s", "content": {}, "inputs": {}, "plan": plan},
        {"kind": "extend", "content": {}, "plan": plan},
        {"kind": "session", "slots": 2, "cpus": 2.0},
        {"kind": "tracking", "run_ids": {}},
        {"kind": "failure", "trial": "t", "decision": decision},
    )
    sweep, extend, session, tracking, failure = records
    assert (sweep.format, sweep.plan.levels, sweep.plan.rows, sweep.time) == (1, (16, 64), None, 0.0)
    assert (extend.format, extend.who) == (1, "")
    assert (session.folder, session.tracking, session.entrypoint) == ("", {}, None)
    assert tracking.experiment_id == ""
    assert failure == FailureRecord(trial="t", decision=Decision("t", 0, Action.STOP, "failure", "", "why"))


def test_a_session_that_was_not_tracked_says_so(tmp_path: Path) -> None:
    (session,) = read_lines(tmp_path / "j.jsonl", {"kind": "session", "slots": 1, "cpus": 1.0, "tracking": None})
    assert session.tracking is None


def test_what_later_versions_add_is_passed_over(tmp_path: Path) -> None:
    end = {"status": "completed", "wall_seconds": 1.0, "slot_seconds": 2.0}
    lines = {"kind": "session_end", **end, "mood": "fine"}, {"kind": "nap", "time": 2.0, "epoch": 1, "dreams": [1]}
    records = read_lines(tmp_path / "j.jsonl", *lines)
    assert records[0] == SessionEndRecord(**end)
    assert as_line(records[0]) == {"kind": "session_end", "time": 0.0, "epoch": 0, **end}
    assert as_line(records[1]) == lines[1]
    assert read_entries(records) == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"status": None}, "it lacks status"),
        ({"kind": "trial"}, "it lacks config, name, trial"),
        ({"kind": "decision", "decision": {"action": "JUMP"}}, "JUMP"),
        ({"kind": "decision", "decision": None}, "NoneType"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    good = {"kind": "session_end", "status": "completed", "wall_seconds": 1.0, "slot_seconds": 2.0}
    bad = {name: value for name, value in {**good, **change}.items() if value is not None or name == "decision"}
    records = read_lines(tmp_path / "j.jsonl", good, bad)
    assert records.first(SessionEndRecord) == records[0], "other lines are read"
    with pytest.raises(StorageError, match=told) as caught:
        list(records)
    assert caught.value.where == f"{tmp_path / 'j.jsonl'}:2"


# -- asked for by class ----------------------------------------------------------------------------


def test_records_are_asked_for_by_class() -> None:
    lines, records = journal_lines(TRIALS), read_journal(TRIALS)
    milestones = list(records.of(MilestoneRecord))
    assert [(each.trial, each.index) for each in milestones] == [
        (line["trial"], line["index"]) for line in lines if line["kind"] == "milestone"
    ]
    both = [record.trial for record in records.of(TrialRecord, MilestoneRecord)]
    assert both == [line["trial"] for line in lines if line["kind"] in ("trial", "milestone")]
    first, last = records.first(ActionRecord), records.last(ActionRecord, TrialRecord)
    assert first is not None
    assert isinstance(last, ActionRecord)
    assert (first.id, last.id) == ("a1", [line["id"] for line in lines if line["kind"] == "action"][-1])
    assert records.last(AfterSearchRecord) is records.first(SweepRecord) is None
    assert list(read_journal(SESSIONS).of(SessionRecord))[1].tracking is None
    assert (len(records), records[-1], records[1:2]) == (len(lines), list(records)[-1], [records[1]])
    assert records.latest_epoch == lines[-1]["epoch"] == 2


def test_the_writer_says_when_and_who(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    end = SessionEndRecord(status="completed", wall_seconds=1.0, slot_seconds=2.0)
    journal.append(end)
    (line,), (record,) = journal_lines(journal.path), journal.records
    assert (record.epoch, record.time) == (1, line["time"])
    assert (end.epoch, end.time) == (0, 0.0)


def test_each_class_has_one_kind_and_its_fields_in_the_order_of_its_lines() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
    for line in [*journal_lines(TRIALS), *journal_lines(SESSIONS)]:
        names = [each.name for each in fields(KINDS[line["kind"]])]
        assert [name for name in names if name in line] == [name for name in line if name != "kind"]


def test_what_is_as_always_is_left_out() -> None:
    extended = ExtendRecord(content={}, plan=read_journal(SESSIONS).last(SweepRecord).plan)  # type: ignore[union-attr]
    assert "format" not in as_line(extended)
    roles = {record.role for record in read_journal(TRIALS).of(MilestoneRecord)}
    assert roles > {Role.SEARCH, Role.AUDIT, Role.REPEAT, Role.CLONE}
