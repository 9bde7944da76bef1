"""A sweep joins a Ray cluster that is already up and asks for a token, and leaves it up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SWEEP = """
name: joined
model: testbed
data: {train: "testbed:sft", held_out: 0.1, limit: 200}
search_space: {method: full, learning_rate: [1e-3, 3e-3], effective_batch_size: 8}
searcher: grid
budget: {samples: 64}
"""


@dataclass(frozen=True)
class Cluster:
    """A running head node."""

    address: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """`ray start --head` with a token in the (temporary) home folder, as any local Ray leaves one behind."""
    home = Path(tempfile.mkdtemp(prefix="ray-home-"))  # short: Ray puts Unix sockets below it
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a" * 48)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment.update(HOME=str(home), OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", str(port)),
        *("--num-cpus", "2", "--include-dashboard", "false", "--temp-dir", str(home / "ray")),
    ]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        yield Cluster(f"127.0.0.1:{port}", environment)
        assert head.poll() is None, "the sweeps must leave the cluster up"
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def test_sweep_joins_a_cluster_that_asks_for_a_token(cluster: Cluster, tmp_path: Path) -> None:
    done = _run(cluster, tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["counts"]["completed"] + result["counts"]["stopped"] == 2
    assert result["slots"] == 2
    again = _run(cluster, tmp_path)
    assert json.loads(again.stdout)["winner"] == result["winner"], "a second run joins too, and trains nothing"


def test_wrong_token_ends_with_one_message_that_names_the_variables(cluster: Cluster, tmp_path: Path) -> None:
    done = _run(cluster, tmp_path, RAY_AUTH_TOKEN="b" * 48)
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN" in done.stderr
    assert cluster.address in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs" / "joined" / "journal.jsonl").exists()


def _run(cluster: Cluster, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    file = folder / "joined.yaml"
    file.write_text(SWEEP)
    command = [
        *(sys.executable, "-m", "orchestrator.cli", "run", str(file), "--json"),
        *("--storage", str(folder / "runs"), "--ray", cluster.address),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, env={**cluster.environment, **environment}, timeout=300
    )


def _wait_for_port(port: int, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"Ray did not answer on port {port} within {seconds:.0f} s")
