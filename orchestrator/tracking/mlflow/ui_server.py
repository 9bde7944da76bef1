"""An MLflow UI for the length of a block: one that runs already on the same store, or a process of our own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.errors import OrchestratorError, TrackingError
from orchestrator.tracking.mlflow.ui import UI_SETTINGS, ui_words

FIRST_PORT = 5000
PORTS_TRIED = 50
START_SECONDS = 120.0
STOP_SECONDS = 10.0


class UiError(OrchestratorError):
    """The MLflow UI could not be started, or ended by itself."""


@dataclass(frozen=True)
class Ui:
    """A UI that answers.

    Args:
        server: Its address, ``http://127.0.0.1:PORT``.
        process: The process that serves it; None where it ran before.
    """

    server: str
    process: subprocess.Popen[bytes] | None = None

    def wait(self) -> None:
        """Wait until the UI's process ends; returns at once where it is not ours.

        Raises:
            UiError: If it ended by itself.
        """
        if self.process is not None and self.process.wait() != 0:
            raise UiError(f"the MLflow UI ended by itself (exit code {self.process.returncode})")


@contextmanager
def serving_ui(uri: str, storage: Path, run_id: str, port: int | None = None) -> Iterator[Ui]:
    """Yield the UI of a tracking store; one that was started for the block ends with it.

    Args:
        uri: Tracking URI; a server serves its own UI.
        storage: Storage folder that keeps the artifacts of a local store.
        run_id: A run of the store, by which a UI that already runs on it is known; empty: none is looked for.
        port: Port on 127.0.0.1; None takes the first free one from 5000 on.

    Raises:
        TrackingError: If ``port`` is taken by something else, or no port is free.
        UiError: If the UI does not start.
    """
    if uri.startswith("http"):
        yield Ui(uri)
        return
    ports = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if port is None else [port]
    running = next((server for server in map(_address, ports) if run_id and _has_run(server, run_id)), None)
    if running is not None:
        yield Ui(running)
        return
    chosen = next((candidate for candidate in ports if _is_free(candidate)), None)
    if chosen is None:
        rule = "this port is in use" if port is not None else f"ports {ports[0]} to {ports[-1]} are all in use"
        raise TrackingError("--port", value=port, rule=rule, mend="choose another with --port")
    with tempfile.TemporaryFile() as log:
        process = _start(uri, storage, chosen, log)
        try:
            _wait_until_it_answers(process, _address(chosen), log)
            yield Ui(_address(chosen), process)
        finally:
            _stop(process)


def _start(uri: str, storage: Path, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C in the terminal reaches us alone, and we end it with all its workers.
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", *ui_words(uri, storage, port)],
        env={**os.environ, **UI_SETTINGS},
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: str, log: IO[bytes]) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if process.poll() is not None:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UiError(f"the MLflow UI did not start: {lines[-1]}")
        if _get(f"{server}/health") == b"OK":
            return
        time.sleep(0.2)
    raise UiError(f"the MLflow UI did not answer at {server} within {START_SECONDS:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the UI's process group: asked first, and made to after a while."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _has_run(server: str, run_id: str) -> bool:
    """Whether a server on this machine keeps a run: then it serves the same store."""
    answer = _get(f"{server}/api/2.0/mlflow/runs/get?run_id={run_id}")
    try:
        return bool(json.loads(answer)["run"]["info"]["run_id"] == run_id)
    except (ValueError, KeyError, TypeError):
        return False


def _get(address: str) -> bytes:
    import http.client
    import urllib.request

    try:
        # No proxy: the address is this machine's own.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=2.0) as answer:
            body: bytes = answer.read(1 << 20)
            return body
    except (OSError, http.client.HTTPException):
        return b""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"
