"""Both trackers of the table keep the contract that authors of others are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.testing import TrackerContract
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.trackers import TrackerTask, open_tracker


class TestMemory(TrackerContract):
    uri, outlives_its_process = "memory:", False

    def open_tracker(self, task: TrackerTask) -> Tracker:
        return open_tracker(task)


class TestMlflow(TrackerContract):
    uri_of_nowhere = "http://127.0.0.1:9"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def one_store(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        # Making a store takes longer than all of these tests.
        cls.uri = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"

    def open_tracker(self, task: TrackerTask) -> Tracker:
        return open_tracker(task)


class Forgetful(TestMemory):
    def open_tracker(self, task: TrackerTask) -> Tracker:
        tracker = open_tracker(task)
        tracker.flush = lambda timeout_seconds: False  # type: ignore[method-assign]
        return tracker


def test_a_tracker_that_delivers_nothing_does_not_pass(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not delivered"):
        Forgetful().test_a_whole_sweep_is_told(tmp_path)
