"""A Ray of this machine that stays up while commands join and leave it, and commands called in this process.

A new interpreter, with torch, and a new Ray take ten seconds each time; what is killed half-way still needs its own.
"""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

SECONDS_TO_START = 60


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class SharedRay:
    """A head node with two slots, and the commands that join it."""

    address: str

    def run(self, *words: object) -> Done:
        """Call ``orchestrate run WORDS`` on it."""
        return call("run", *words, "--ray", self.address)

    def result(self, *words: object) -> dict[str, Any]:
        """Return the result of ``orchestrate run WORDS --json``, which must end well."""
        return answer(self.run(*words, "--json"))


def answer(done: Done) -> dict[str, Any]:
    """Return the JSON that a command printed; it must have ended well."""
    assert done.returncode == 0, done.stderr[-4000:]
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def call(*words: object) -> Done:
    """Call the command as a shell would."""
    from orchestrator import cli

    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["orchestrate", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def ray_head() -> Iterator[SharedRay]:
    """Start a head node and end it."""
    home = Path(tempfile.mkdtemp(prefix="ray-tests-"))  # short: Ray puts Unix sockets below it
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address", "127.0.0.1"),
        *("--port", str(port), "--num-cpus", "2", "--include-dashboard", "false", "--temp-dir", str(home)),
        *("--object-store-memory", str(200 * 2**20)),
    ]
    head = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        _wait_for(port)
        yield SharedRay(f"127.0.0.1:{port}")
    finally:
        head.terminate()
        head.wait(timeout=SECONDS_TO_START)
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(port: int) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "Ray did not start"
            time.sleep(0.2)
        else:
            return
