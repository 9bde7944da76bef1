"""Whole sweeps through the command line, Ray and MLflow, as a user would run them, on the built-in test bed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.worlds.shared_ray import SharedRay

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SWEEP = """
name: small
model: testbed
data: {train: "testbed:sft", held_out: 0.1, limit: 400}
evaluation:
  - {name: eval, kind: loss, data: held_out}
  - {name: skills, kind: exact_match, data: "testbed:skills", limit: 20, max_new_tokens: 8, when: end}
  - {name: general, kind: text_loss, data: "testbed:biographies", limit: 10, when: end}
search_space:
  method:
    full: {learning_rate: [1e-3, 3e-3]}
    lora: {learning_rate: [4e-3, 1000.0], r: 8}
  any_learning_rate: true
  effective_batch_size: [8, 32]
searcher: grid
budget: {samples: 512}
milestones: [0.25, 0.5, 1.0]
resources: {concurrency: 1}
"""


def _orchestrate(storage: Path, *more: str) -> list[str]:
    file = storage.parent / "small.yaml"
    file.write_text(SWEEP)
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--storage", str(storage), "--json", *more]
    return command


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _run(storage: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(_orchestrate(storage, *more), capture_output=True, text=True, env=_environment(), timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _start(storage: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _orchestrate(storage, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    )


def _wait_for_milestones(storage: Path, count: int, seconds: float = 240.0) -> None:
    journal = storage / "small" / "journal.jsonl"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if journal.exists() and journal.read_text().count('"kind": "milestone"') >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{count} milestones did not appear within {seconds:.0f} s")


def _facts(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how often the sweep was interrupted."""
    return {trial["trial_id"]: (trial["outcome"], trial["samples_seen"], trial["scores"]) for trial in result["trials"]}


def _series(database: Path) -> list[tuple[Any, ...]]:
    """Every training-loss point in the store, by the trial's stable id; doubled points would show."""
    query = """
        select t.value, m.key, m.step, m.value from metrics m
        join tags t on t.run_uuid = m.run_uuid and t.key = 'orchestrate.trial_id'
        where m.key in ('train/loss', 'eval/loss') and m.is_nan = 0 order by 1, 2, 3
    """
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


def _runs(database: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(database) as connection:
        return connection.execute("select name, status from runs order by name").fetchall()


@pytest.fixture(scope="module")
def uninterrupted(shared_ray: SharedRay, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    storage = tmp_path_factory.mktemp("whole") / "runs"
    return shared_ray.result(*_orchestrate(storage)[4:-1]), storage


def test_sweep_gives_a_winner_stops_the_weak_and_tracks_everything(uninterrupted: tuple[dict[str, Any], Path]) -> None:
    result, storage = uninterrupted
    assert result["status"] == "completed"
    assert sum(result["counts"].values()) == len(result["trials"]) == 8
    assert result["counts"]["diverged"] >= 1, "a learning rate of 1000 diverges"
    assert result["counts"]["stopped"] >= 1
    assert result["samples_trained"] < result["samples_exhaustive"] == 8 * 512
    assert result["winner"]["scores"]["eval/loss"] < result["base_scores"]["eval/loss"]
    assert all(trial["reason"] for trial in result["trials"] if trial["outcome"] in ("stopped", "diverged"))
    runs = _runs(storage / "mlflow.db")
    assert len(runs) == 9, "one parent and eight children"
    statuses = [status for _, status in runs]
    assert statuses.count("FINISHED") == 1 + result["counts"]["completed"]
    assert statuses.count("KILLED") == result["counts"]["stopped"] + result["counts"]["diverged"]
    page = Path(result["report"]).read_text()
    assert f"Use {result['winner']['name']}" in page
    assert "Finished, last record" in page
    artifacts = {file.name: file for file in (storage / "mlartifacts").rglob("report/**/*") if file.is_file()}
    assert artifacts["report.html"].read_text() == page
    assert {"report.md", "curves-held-out.svg"} <= artifacts.keys()


@pytest.mark.slow
def test_two_slots_train_the_same_trials_to_the_same_scores(
    uninterrupted: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """Which trial takes an idle slot depends on who arrives first; what a trial learns does not."""
    result, _ = uninterrupted
    both = _run(tmp_path / "runs", "--set", "resources.concurrency=2")
    assert both["slots"] == 2
    assert both["status"] == "completed"
    one, two = _facts(result), _facts(both)
    assert one.keys() == two.keys()
    same_length = [trial_id for trial_id in one if one[trial_id][1] == two[trial_id][1]]
    assert len(same_length) >= len(one) - 2
    for trial_id in same_length:
        assert two[trial_id][2] == one[trial_id][2]


def test_run_again_after_the_end_trains_nothing(uninterrupted: tuple[dict[str, Any], Path]) -> None:
    result, storage = uninterrupted
    again = _run(storage)
    assert _facts(again) == _facts(result)
    assert again["training_seconds"] == result["training_seconds"]
    assert len(_runs(storage / "mlflow.db")) == 9


def test_killed_driver_resumes_to_the_same_result(uninterrupted: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    result, whole = uninterrupted
    storage = tmp_path / "runs"
    for milestones in (3, 8):
        process = _start(storage)
        _wait_for_milestones(storage, milestones)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    resumed = _run(storage)
    assert _facts(resumed) == _facts(result)
    assert _series(storage / "mlflow.db") == _series(whole / "mlflow.db")
    assert sorted(status for _, status in _runs(storage / "mlflow.db")) == sorted(
        status for _, status in _runs(whole / "mlflow.db")
    )


@pytest.mark.slow
def test_interrupt_saves_and_the_same_command_goes_on(
    uninterrupted: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    result, _ = uninterrupted
    storage = tmp_path / "runs"
    process = _start(storage)
    _wait_for_milestones(storage, 2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors[-3000:]
    first = json.loads(output)
    assert first["status"] == "interrupted"
    assert 0 < first["samples_trained"] < result["samples_trained"]
    assert _facts(_run(storage)) == _facts(result)


def test_worker_that_is_killed_costs_no_trial(uninterrupted: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    result, _ = uninterrupted
    storage = tmp_path / "runs"
    process = _start(storage)
    _wait_for_milestones(storage, 3)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if _is_worker(child)]
    assert workers, "a worker trains"
    for worker in workers:
        worker.kill()
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    assert _facts(json.loads(output)) == _facts(result)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("Trainable" in word for word in process.cmdline())
    return False


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TrackingServer:
    """A real ``mlflow server`` process on loopback."""

    def __init__(self, folder: Path, port: int) -> None:
        self.uri, self._folder, self._port = f"http://127.0.0.1:{port}", folder, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{self._folder / 'server.db'}",
            "--artifacts-destination",
            str(self._folder / "artifacts"),
        ]
        environment = {
            **_environment(),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the mlflow server did not start")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[TrackingServer]:
    running = TrackingServer(tmp_path / "server", port)
    running.start()
    yield running
    running.stop()


@pytest.mark.slow
def test_tracking_server_may_go_away_and_come_back(
    uninterrupted: tuple[dict[str, Any], Path], server: TrackingServer, tmp_path: Path
) -> None:
    result, whole = uninterrupted
    storage = tmp_path / "runs"
    process = _start(storage, "--tracking-uri", server.uri)
    _wait_for_milestones(storage, 3)
    server.stop()
    _wait_for_milestones(storage, 6)
    server.start()
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    tracked = json.loads(output)
    assert _facts(tracked) == _facts(result)
    assert tracked["tracking"]["pending_bytes"] == 0
    assert _series(tmp_path / "server" / "server.db") == _series(whole / "mlflow.db")


def test_same_name_with_other_content_is_refused(uninterrupted: tuple[dict[str, Any], Path]) -> None:
    _, storage = uninterrupted
    before = (storage / "small" / "journal.jsonl").read_bytes()
    done = subprocess.run(
        _orchestrate(storage, "--set", "budget.samples=256"), capture_output=True, text=True, env=_environment()
    )
    assert done.returncode == 2
    assert "budget.samples: 512 -> 256" in done.stderr.replace("\n", " ")
    assert (storage / "small" / "journal.jsonl").read_bytes() == before
