"""The MLflow UI for the length of a block: started once, found again, and gone afterwards."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow.ui_server import UiError, serving_ui


@pytest.fixture
def run_id(sqlite_backend: Any, make_trial: Callable) -> str:
    tracker = sqlite_backend.open()
    assert tracker.flush(60)
    found = str(tracker.run_ids[""])
    tracker.close()
    return found


def test_ui_is_started_once_found_again_and_ended(sqlite_backend: Any, run_id: str) -> None:
    with serving_ui(sqlite_backend.uri, sqlite_backend.folder, run_id) as first:
        assert first.process is not None
        with urllib.request.urlopen(f"{first.server}/health", timeout=5) as answer:
            assert answer.read() == b"OK"
        addresses = {
            connection.laddr.ip
            for process in [
                psutil.Process(first.process.pid),
                *psutil.Process(first.process.pid).children(recursive=True),
            ]
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert addresses <= {"127.0.0.1"}, "it listens on loopback alone"
        with serving_ui(sqlite_backend.uri, sqlite_backend.folder, run_id) as second:
            assert (second.server, second.process) == (first.server, None)
        group = psutil.Process(first.process.pid).children(recursive=True)
    assert first.process.poll() is not None
    _, alive = psutil.wait_procs(group, timeout=10)
    assert alive == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{first.server}/health", timeout=5)


def test_server_serves_its_own_ui(server: Any) -> None:
    with serving_ui(server.uri, server.folder, "") as found:
        assert (found.server, found.process) == (server.uri, None)


def test_port_in_use_is_named(sqlite_backend: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(TrackingError, match="this port is in use"),
            serving_ui(sqlite_backend.uri, sqlite_backend.folder, "", port),
        ):
            pass


def test_ui_that_does_not_start_says_why(sqlite_backend: Any) -> None:
    with pytest.raises(UiError, match="did not start"), serving_ui("nonsense://x", sqlite_backend.folder, ""):
        pass
