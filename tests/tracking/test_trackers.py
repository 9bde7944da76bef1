"""A tracker is one entry and one file: the scheme of the URI chooses it, for the check, the sweep and the view."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.api.plan.preflight import validate_sweep
from orchestrator.api.run import session_tracking
from orchestrator.errors import TrackingError
from orchestrator.history.tracked_runs import find_runs
from orchestrator.storage.journal_records.sequence import JournalRecords
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.outbox.outbox_tracker import OutboxTracker
from orchestrator.tracking.tracker import SweepInfo
from orchestrator.tracking.trackers import (
    TRACKERS,
    StoreView,
    TrackerKind,
    TrackerTask,
    check_tracker,
    open_tracker,
    tracker_kind,
    view_of,
)
from tests.worlds.tuning_worlds import small_spec

INFO = SweepInfo("1" * 16, "tiny")


def open_toy(task: TrackerTask) -> MemoryTracker:
    tracker = MemoryTracker()
    tracker.start_sweep(task.sweep)
    tracker.set_sweep_tags({"toy": str(task.uri)})
    return tracker


def check_toy(uri: str) -> None:
    if uri.endswith("away"):
        raise TrackingError("tracking", "uri", uri, "the toy box is away", "look under the bed")


def view_toy(uri: str, storage: Path, experiment_id: str) -> StoreView:
    return StoreView(f"open {uri}", experiment_id)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    here = __name__
    kind = TrackerKind("toy", ("toy",), f"{here}:open_toy", f"{here}:check_toy", f"{here}:view_toy")
    monkeypatch.setitem(TRACKERS, "toy", kind)


@pytest.mark.parametrize(
    "uri", [None, "sqlite:///a.db", "https://host", "mysql+pymysql://host/db", "nfs://x", "./runs"]
)
def test_what_no_other_tracker_takes_is_mlflows(uri: str | None) -> None:
    assert tracker_kind(uri) is TRACKERS["mlflow"]


def test_every_tracker_can_be_opened(tmp_path: Path) -> None:
    kept = open_tracker(TrackerTask(None, tmp_path, INFO, tmp_path / "tiny" / "outbox.jsonl"))
    assert isinstance(kept, OutboxTracker)
    kept.abandon()
    assert isinstance(open_tracker(TrackerTask("memory:", tmp_path, INFO, tmp_path / "outbox.jsonl")), MemoryTracker)
    check_tracker("memory:")
    assert view_of("memory:", tmp_path, "memory") == StoreView()


def test_a_tracker_is_checked_before_the_sweep_starts(toy: None, tmp_path: Path) -> None:
    spec = small_spec(tracking={"uri": "toy:away"}, storage=str(tmp_path))
    with pytest.raises(TrackingError, match="the toy box is away"):
        validate_sweep(spec)


def test_a_sweep_is_told_to_the_tracker_of_its_uri(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_tracking, "_sweep_info", lambda start, first: INFO)
    folder = SimpleNamespace(storage=tmp_path, outbox=tmp_path / "outbox.jsonl")
    start: Any = SimpleNamespace(spec=small_spec(tracking={"uri": "toy:box"}), folder=folder)
    with session_tracking.session_tracker(start, {}) as tracker:
        assert isinstance(tracker, MemoryTracker)
        assert tracker.runs[""].tags["toy"] == "toy:box"
    assert view_of("toy:box", tmp_path, "7") == StoreView("open toy:box", "7")


def test_runs_that_are_not_in_mlflow_are_not_looked_for_there(toy: None, tmp_path: Path) -> None:
    folder = SimpleNamespace(outbox=tmp_path / "outbox.jsonl", name="tiny", storage=tmp_path)
    records = JournalRecords(tmp_path, [{"kind": "tracking", "run_ids": {"": "1"}, "experiment_id": "7"}])
    session = SimpleNamespace(tracking={"uri": "toy:box", "experiment": "e"})
    state: Any = SimpleNamespace(folder=folder, session=session, records=records)
    assert (find_runs(state).uri, find_runs(state).sweep_run) == ("", "")
    state.session.tracking["uri"] = "https://host"
    assert (find_runs(state).uri, find_runs(state).sweep_run) == ("https://host", "1")
