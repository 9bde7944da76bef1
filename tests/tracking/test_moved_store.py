"""A store that was moved or copied with its storage, and the report put among its artifacts again."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from orchestrator.errors import TrackingError
from orchestrator.tracking.events import SinkError
from orchestrator.tracking.mlflow.opening import default_tracking_uri
from orchestrator.tracking.mlflow.report_files import replace_artifacts
from orchestrator.tracking.mlflow.sqlite_store import rehome_artifacts
from orchestrator.tracking.tracker import SweepInfo
from orchestrator.tracking.trackers import TrackerTask, open_tracker


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A storage with one tracked sweep whose report is an artifact, and the id of its run."""
    storage = tmp_path_factory.mktemp("stored") / "runs"
    page = storage / "made" / "report" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("first")
    info = SweepInfo(sweep_id="1" * 16, name="made", params={}, tags={}, config_yaml="", datasets=())
    tracker = open_tracker(TrackerTask(None, storage, info, storage / "made" / "outbox.jsonl"))
    tracker.log_artifact(page, "report")
    assert tracker.flush(60)
    run = tracker.run_ids[""]
    tracker.close()
    return storage, run


def held(storage: Path) -> list[str]:
    return [path.read_text() for path in storage.glob("mlartifacts/**/report.html")]


def write_again(storage: Path, text: str) -> Path:
    folder = storage / "made" / "report"
    (folder / "report.html").write_text(text)
    (folder / "plots").mkdir(exist_ok=True)
    (folder / "plots" / "a.svg").write_text("<svg/>")
    return folder


def test_report_is_replaced_in_place(stored: tuple[Path, str], tmp_path: Path) -> None:
    storage = shutil.copytree(stored[0], tmp_path / "runs")
    replace_artifacts(default_tracking_uri(storage), stored[1], write_again(storage, "second"), "report")
    assert held(storage) == ["second"]
    assert len(list(storage.glob("mlartifacts/**/plots/a.svg"))) == 1
    assert held(stored[0]) == ["first"], "the storage that it was copied from is left alone"


def test_moved_store_points_at_its_artifacts_and_only_once(stored: tuple[Path, str], tmp_path: Path) -> None:
    storage = shutil.copytree(stored[0], tmp_path / "deep" / "runs")
    root = storage / "mlartifacts"
    assert rehome_artifacts(storage / "mlflow.db", root) == 1
    assert rehome_artifacts(storage / "mlflow.db", root) == 0
    with sqlite3.connect(storage / "mlflow.db") as store:
        (experiment,) = [
            place for (place,) in store.execute("select artifact_location from experiments") if "made" in place
        ]
        runs = [place for (place,) in store.execute("select artifact_uri from runs")]
    assert experiment == str(root / "made")
    assert runs == [f"{root}/made/{stored[1]}/artifacts"]


def test_artifacts_that_lie_elsewhere_on_purpose_are_left_there(stored: tuple[Path, str], tmp_path: Path) -> None:
    storage = shutil.copytree(stored[0], tmp_path / "runs")
    shutil.rmtree(storage / "mlartifacts")
    assert rehome_artifacts(storage / "mlflow.db", storage / "mlartifacts") == 0
    (storage / "mlartifacts").mkdir()
    assert rehome_artifacts(storage / "mlflow.db", storage / "mlartifacts") == 0


def test_store_that_is_gone_or_silent_and_run_that_is_gone_are_named(stored: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="is gone"):
        replace_artifacts(default_tracking_uri(tmp_path), stored[1], tmp_path, "report")
    with pytest.raises(TrackingError, match="/health"):
        replace_artifacts("http://127.0.0.1:9", stored[1], tmp_path, "report")
    with pytest.raises(SinkError, match="not found"):
        replace_artifacts(default_tracking_uri(stored[0]), "0" * 32, tmp_path, "report")
    assert not (tmp_path / "mlflow.db").exists()
