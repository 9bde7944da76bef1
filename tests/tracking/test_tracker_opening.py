"""Opening: what is checked before a sweep starts, and what a person is told to open."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TrackingError
from orchestrator.records import Outcome
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.mlflow import opening
from orchestrator.tracking.mlflow.opening import check_tracking_uri, default_tracking_uri
from orchestrator.tracking.mlflow.ui import ui_command
from orchestrator.tracking.no_tracker import NoTracker
from orchestrator.tracking.provenance import provenance_tags
from orchestrator.tracking.tracker import SweepInfo, SweepOutcome, Tracker
from orchestrator.tracking.views import experiment_address


@pytest.fixture
def mute_port() -> Any:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_check_takes_a_healthy_server_and_a_writable_folder(server: Any, tmp_path: Path) -> None:
    check_tracking_uri(server.uri)
    check_tracking_uri(default_tracking_uri(tmp_path / "not" / "yet"))
    assert not (tmp_path / "not").exists()


def test_check_names_an_absent_server_and_the_mend() -> None:
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9.*/health.*mlflow server"):
        check_tracking_uri("http://127.0.0.1:9")


def test_check_gives_up_on_a_mute_server(mute_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ANSWER_SECONDS", 1.0)
    began = time.perf_counter()
    with pytest.raises(TrackingError, match="within 1 s"):
        check_tracking_uri(f"http://127.0.0.1:{mute_port}")
    assert time.perf_counter() - began < 4


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlit:///x.db", "Did you mean 'sqlite'"),
        ("./mlruns", "sqlite:///PATH"),
        ("file:///tmp/mlruns", "starts with one of"),
        ("sqlite://", "names a file"),
        ("http://", "/health"),
        ("postgresql://user:secret@127.0.0.1:9/db", r"user:\*\*\*@127"),
    ],
)
def test_check_names_what_is_wrong(uri: str, told: str) -> None:
    with pytest.raises(TrackingError, match=told) as caught:
        check_tracking_uri(uri)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_check_refuses_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("these are not the rows you are looking for")
    with pytest.raises(TrackingError, match="not an SQLite database"):
        check_tracking_uri(f"sqlite:///{file}")


def test_tracking_imports_no_mlflow_until_it_delivers() -> None:
    code = (
        "import sys, orchestrator.tracking.mlflow.opening, orchestrator.tracking.mlflow.ui, orchestrator.tracking.mlflow.sink;"
        "assert not {'mlflow', 'sqlalchemy', 'ray', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_ui_command_can_be_pasted(tmp_path: Path) -> None:
    storage = tmp_path / "with space"
    words = shlex.split(ui_command(default_tracking_uri(storage), storage))
    assert words[4:7] == ["ui", "--backend-store-uri", f"sqlite:///{storage}/mlflow.db"]
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert ui_command("http://host:5000", storage) == "http://host:5000"
    assert experiment_address("http://host:5000/", "3").startswith("http://host:5000/#/experiments/3/runs?")


def test_provenance_names_commit_and_versions(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    tags = provenance_tags(tmp_path)
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] == "no"
    assert tags["version.mlflow"]
    outside = tmp_path / "empty"
    assert "git.commit" not in provenance_tags(outside)


def test_no_tracker_takes_every_call(make_trial: Callable) -> None:
    tracker: Tracker = NoTracker()
    tracker.start_sweep(SweepInfo("s", "s"))
    tracker.start_trial(make_trial("t"))
    tracker.end_trial("t", Outcome.COMPLETED, 1)
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(0)
    assert tracker.health.ok
    tracker.close()


@pytest.mark.parametrize(
    ("outcome", "told"), [("running", "final"), ("stopped", "decision"), ("diverged", "decision"), ("failed", "text")]
)
def test_tracker_refuses_an_ending_without_its_why(outcome: str, told: str) -> None:
    tracker = MemoryTracker()
    with pytest.raises(ValueError, match=told):
        tracker.end_trial("t", Outcome(outcome), 1)


def test_tracker_draws_a_limited_number_of_metrics_and_names_the_rest(
    make_trial: Callable, make_signals: Callable
) -> None:
    tracker = MemoryTracker()
    tracker.start_sweep(SweepInfo("s", "s"))
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 2))
    tracker.log_scores("t", 32, {f"set{index:02d}/loss": 1.0 for index in range(66)})
    tracker.log_scores("t", 64, {f"set{index:02d}/loss": 1.0 for index in range(66)})
    tracker.log_system("t", 64, "n", {f"gauge{index:02d}": 1.0 for index in range(10)})
    names = [key for key in tracker.runs["t"].metrics if not key.startswith("train/")]
    assert (len(names), sum(key.startswith("system/") for key in names)) == (64 + 9, 9)
    assert len(tracker.runs["t"].metrics["set00/loss"]) == 2
    assert tracker.health.undrawn_metrics == ("set64/loss", "set65/loss", "system/gauge09")
