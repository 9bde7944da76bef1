"""A real MLflow server process, a real SQLite store, and one way to read back what a tracker left in any store."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records import Action, Decision, TrainingSignal, TrialConfig
from orchestrator.tracking.in_memory import MemorySink, MemoryTracker
from orchestrator.tracking.tracker import DatasetInfo, SweepInfo, TrialInfo
from orchestrator.tracking.trackers import TrackerTask, open_tracker


@dataclass
class Seen:
    """One run as read back; metrics map a key to sorted (step, timestamp, repr(value)) rows, duplicates kept."""

    run_id: str
    name: str
    status: str
    parent: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, list[tuple[int, int, str]]]
    datasets: list[tuple[str, str]]
    artifacts: dict[str, str] = field(default_factory=dict)


class Server:
    """An ``mlflow server`` on a free loopback port that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # A write-ahead log (it stays with the file) spares the tests thousands of waits for the disk.
        with contextlib.closing(sqlite3.connect(self.folder / "server.db")) as store:
            store.execute("PRAGMA journal_mode = WAL")
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # spawns processes that no test needs
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_healthy()

    def stop(self) -> None:
        if self._process is not None:
            # The server's workers are in its own process group, started by us.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _wait_until_healthy(self) -> None:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError((self.folder / "server.log").read_text()[-2000:])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


class Backend:
    """Opens trackers on one kind of store, and reads back what they left."""

    def __init__(self, kind: str, uri: str, folder: Path) -> None:
        self.kind, self.uri, self.folder = kind, uri, folder
        self.sweep = f"sweep-{uuid.uuid4().hex[:8]}"
        self._memory = MemorySink()

    def info(self, **changes: Any) -> SweepInfo:
        values: dict[str, Any] = {
            "sweep_id": self.sweep,
            "name": self.sweep,
            "params": {"model": "testbed", "trials": 4},
            "tags": {"seeds": "0", "git.commit": "abc"},
            "config_yaml": "name: small\n",
            "datasets": [DatasetInfo("sft", "d" * 64, "testbed:sft", 100)],
            "objective": "held_out/loss",
            "mode": "min",
        }
        return SweepInfo(**(values | changes))

    @property
    def outbox_file(self) -> Path:
        return self.folder / self.sweep / "outbox.jsonl"

    def open(self, **changes: Any) -> Any:
        if self.kind == "memory":
            tracker = MemoryTracker(self._memory)
            tracker.start_sweep(self.info(**changes))
            return tracker
        return open_tracker(TrackerTask(self.uri, self.folder, self.info(**changes), self.outbox_file))

    def set_tag(self, run: str, key: str, value: str) -> None:
        """Set a tag as a user does in the UI."""
        if self.kind == "memory":
            self._memory.runs[run].tags[key] = value
            return
        from mlflow.tracking import MlflowClient

        MlflowClient(self.uri).set_tag(self.read()[run].run_id, key, value)

    def read(self) -> dict[str, Seen]:
        return self._read_memory() if self.kind == "memory" else self._read_mlflow()

    def _read_memory(self) -> dict[str, Seen]:
        return {
            key: Seen(
                run_id=self._memory.run_ids[key],
                name=run.name,
                status=run.status,
                parent="" if run.parent is None else self._memory.run_ids[run.parent],
                params=run.params,
                tags=run.tags,
                metrics={k: sorted((s, t, repr(v)) for s, t, v in rows) for k, rows in run.metrics.items()},
                datasets=[(dataset["name"], dataset["digest"]) for dataset in run.datasets],
                artifacts=run.artifacts,
            )
            for key, run in self._memory.runs.items()
        }

    def _read_mlflow(self) -> dict[str, Seen]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.sweep)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        seen: dict[str, Seen] = {}
        for run in runs:
            key = run.data.tags.get("orchestrate.trial_id", "")
            assert key not in seen, f"two runs for {key!r}"
            run_id = run.info.run_id
            seen[key] = Seen(
                run_id=run_id,
                name=run.info.run_name,
                status=run.info.status,
                parent=run.data.tags.get("mlflow.parentRunId", ""),
                params=run.data.params,
                tags=run.data.tags,
                metrics={
                    k: sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run_id, k))
                    for k in run.data.metrics
                },
                datasets=[(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs],
                artifacts={path: self._artifact(client, run_id, path) for path in _files(client, run_id)},
            )
        return seen

    def _artifact(self, client: Any, run_id: str, path: str) -> str:
        target = self.folder / "downloads" / run_id
        target.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(run_id, path, str(target))).read_text()


def _files(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        else:
            yield entry.path


@pytest.fixture(params=["memory", "sqlite", "server"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    kind = request.param
    uri = {
        "memory": lambda: "",
        "sqlite": lambda: request.getfixturevalue("sqlite_uri"),
        "server": lambda: request.getfixturevalue("server").uri,
    }[kind]()
    return Backend(kind, uri, tmp_path)


@pytest.fixture
def sqlite_backend(sqlite_uri: str, tmp_path: Path) -> Backend:
    return Backend("sqlite", sqlite_uri, tmp_path)


@pytest.fixture
def server_backend(server: Server, tmp_path: Path) -> Backend:
    return Backend("server", server.uri, tmp_path)


@pytest.fixture
def make_signals() -> Callable[..., list[TrainingSignal]]:
    def make(first: int, last: int, batch: int = 16, loss: float = 2.0) -> list[TrainingSignal]:
        return [
            TrainingSignal(
                step=step,
                samples_seen=step * batch,
                tokens_seen=step * batch * 40,
                loss=loss - step * 1e-3,
                total_loss=loss - step * 1e-3,
                grad_norm=1.0 + step * 1e-3,
                learning_rate=3e-4,
                tokens_per_second=9000.0,
                elapsed_seconds=step * 0.01,
                noise_scale=30.0,
            )
            for step in range(first, last + 1)
        ]

    return make


@pytest.fixture
def make_trial() -> Callable[..., TrialInfo]:
    def make(trial_id: str, samples: int = 320) -> TrialInfo:
        config = TrialConfig("lora", 16, 3e-4, samples, method_options={"r": 16, "lora_alpha": 32})
        return TrialInfo.of(trial_id, config, datasets=[DatasetInfo("sft", "d" * 64, "testbed:sft", 100)])

    return make


@pytest.fixture
def stop_decision() -> Callable[..., Decision]:
    def make(trial_id: str, rule: str = "rungs", reason: str = "ranks 5 of 6, 2 go on", seen: int = 160) -> Decision:
        return Decision(trial_id, seen, Action.STOP, rule, "dense", reason, {"rank": 5})

    return make
