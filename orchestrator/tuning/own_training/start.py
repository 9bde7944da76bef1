"""Starting the process of a trial: forked from this worker's fork server where there is one, else anew."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO, Protocol

from orchestrator.settings.trial_setup import EntrypointSettings

_MODULE = "orchestrator.integrations.launch"
LOST = -9
"""Exit code of a process whose fork server is gone: as if it had been killed."""


class Started(Protocol):
    """A process that was started; it leads a process group of its own."""

    pid: int

    def poll(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs."""
        ...

    def release(self) -> None:
        """Let go of the lifeline: what still runs ends."""
        ...


class Spawned:
    """A process of its own from the start."""

    def __init__(self, assignment: Path, log: Path, threads: int) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, "train", str(assignment)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(threads),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return how it ended; None while it runs."""
        return self._process.poll()

    def release(self) -> None:
        """Close the lifeline, and wait for the end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


class Forked:
    """A process forked from a fork server, which tells how it ended."""

    def __init__(self, fork_server: ForkServer, pid: int) -> None:
        self._fork_server, self.pid = fork_server, pid

    def poll(self) -> int | None:
        """Return how it ended; None while it runs."""
        return self._fork_server.exit_code(self.pid)

    def release(self) -> None:
        """The lifeline is the fork server's and stays."""


class ForkServer:
    """This worker's end of `orchestrator.integrations.fork_server`.

    Args:
        libraries: What it imports.
        threads: Threads that the code may use.
    """

    def __init__(self, libraries: tuple[str, ...], threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, "serve", *libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(threads),
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asks: IO[bytes] = self._process.stdin
        self._tells: IO[bytes] = self._process.stdout
        os.set_blocking(self._tells.fileno(), False)
        self._text = b""
        self._exits: dict[int, int] = {}
        self._answers: list[dict[str, int]] = []

    def fork(self, assignment: Path) -> Forked | None:
        """Return the process of a trial; None where the fork server is gone or must not fork."""
        try:
            self._asks.write(f"{assignment}\n".encode())
            self._asks.flush()
        except OSError:
            return None
        while not self._answers:
            if not self._hear(wait=True):
                return None
        answer = self._answers.pop(0)
        return None if "refused" in answer else Forked(self, answer["pid"])

    def exit_code(self, pid: int) -> int | None:
        """Return how a process ended; None while it runs."""
        alive = self._hear(wait=False)
        return self._exits.get(pid, None if alive else LOST)

    def close(self) -> None:
        """End the fork server and what it started."""
        with suppress(OSError):
            self._asks.close()
        self._process.wait()
        self._tells.close()

    def _hear(self, wait: bool) -> bool:
        """Take in what it says; returns whether it still lives."""
        if self._tells.closed:
            return False
        if wait:
            os.set_blocking(self._tells.fileno(), True)
        data = self._tells.readline() if wait else self._tells.read()
        os.set_blocking(self._tells.fileno(), False)
        if data == b"":
            return False
        *lines, self._text = (self._text + (data or b"")).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "exit" in message:
                self._exits[message["pid"]] = message["exit"]
            else:
                self._answers.append(message)
        return True


_NURSERIES: dict[tuple[str, str, int], ForkServer] = {}
"""The fork server of this worker, by entrypoint, folder and threads; another sweep's is ended."""


def start(entrypoint: EntrypointSettings, assignment: Path, log: Path, threads: int) -> Started:
    """Start the process of a trial.

    Args:
        entrypoint: The user's code.
        assignment: File of the trial's assignment.
        log: Takes what the process prints.
        threads: Threads that it may use.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    fork_server = _fork_server(entrypoint, threads)
    forked = None if fork_server is None else fork_server.fork(assignment)
    return Spawned(assignment, log, threads) if forked is None else forked


def libraries_of(entrypoint: EntrypointSettings) -> tuple[str, ...]:
    """Return the installed modules that a function's file imports, as ``MODULE`` or ``MODULE:NAME``; none for commands."""
    place = entrypoint.function.rpartition(":")[0]
    return _imports((Path(entrypoint.folder) / place).resolve(), entrypoint.folder) if place.endswith(".py") else ()


def _fork_server(entrypoint: EntrypointSettings, threads: int) -> ForkServer | None:
    libraries = libraries_of(entrypoint) if entrypoint.preload else ()
    if not libraries:
        return None
    key = (entrypoint.label, entrypoint.folder, threads)
    if key not in _NURSERIES:
        end_nurseries()
        _NURSERIES[key] = ForkServer(libraries, threads)
    return _NURSERIES[key]


def end_nurseries() -> None:
    """End each fork server of this worker, and what was forked from it."""
    for key in list(_NURSERIES):
        _NURSERIES.pop(key).close()


@cache
def _imports(file: Path, folder: str) -> tuple[str, ...]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # A package that imports its names lazily has done nothing until one of them is asked for.
            found += [node.module, *(f"{node.module}:{alias.name}" for alias in node.names if alias.name != "*")]
    own = [str(file.parent), folder]
    return tuple(name for name in dict.fromkeys(found) if PathFinder.find_spec(name.partition(".")[0], own) is None)


def _environment(threads: int) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        # `python`, `torchrun` and their kin are those beside the interpreter that runs the sweep.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def new_room() -> Path:
    """Return a new folder that only this user may enter; its path is short enough for a socket's."""
    return Path(tempfile.mkdtemp(prefix="trial-"))
