"""The process that runs the user's code for one trial, as its Ray worker sees it.

A process of its own, because only that can be ended at any moment: it frees all memory, on the GPU too, and leaves no
state behind for the next trial. It talks over a Unix socket in a folder that only this user may enter.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from io import BufferedRWPair
from pathlib import Path

from orchestrator.integrations.assignment import TrialAssignment
from orchestrator.integrations.wire import Message, decode, encode
from orchestrator.tuning.own_training.start import new_room, start

POLL_SECONDS = 0.05
KILL_SECONDS = 3.0


class TrialProcess:
    """Starts the code of one trial, hears its messages, and ends it.

    Args:
        assignment: The trial; its socket is made here.
        threads: Threads that the code may use.
    """

    def __init__(self, assignment: TrialAssignment, threads: int) -> None:
        self.log = Path(assignment.log)
        self._room = new_room()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._room / "line"))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._heard: deque[tuple[Message, BufferedRWPair]] = deque()
        self._asking: BufferedRWPair | None = None
        file = self._room / "trial.json"
        assignment.listening_at(self._room / "line").write(file)
        self._process = start(assignment.entrypoint, file, self.log, threads)

    @property
    def alive(self) -> bool:
        """Whether the code still runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def receive(self, timeout_seconds: float) -> Message | None:
        """Return the next message, which must be answered; None once the process has ended.

        Raises:
            TimeoutError: If nothing comes for so long.
        """
        until = time.monotonic() + timeout_seconds
        while not self._heard:
            alive = self.alive
            self._listen(POLL_SECONDS if alive else 0.0)
            if self._heard:
                break
            if not alive:
                return None
            if time.monotonic() > until:
                raise TimeoutError(f"no report for {timeout_seconds:.0f} s")
        message, self._asking = self._heard.popleft()
        return message

    def answer(self, stop: bool) -> None:
        """Answer the last message: whether the code is to stop."""
        if self._asking is None:
            return
        with suppress(OSError):  # it hung up, and its end is noticed by the next `receive`
            self._asking.write(encode({"stop": stop}))
            self._asking.flush()
        self._asking = None

    def wait(self, seconds: float) -> bool:
        """Let the code run on to its end, answering what it still asks; returns whether it ended in time."""
        until = time.monotonic() + seconds
        while self.alive and time.monotonic() < until:
            with suppress(TimeoutError):
                if self.receive(POLL_SECONDS) is not None:
                    self.answer(stop=True)
        return not self.alive

    def end(self, grace_seconds: float) -> None:
        """Tell the code to stop, where it is waiting for an answer, and end it and whatever it started."""
        if self._asking is not None:
            self.answer(stop=True)
            self.wait(grace_seconds)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            if self.wait(KILL_SECONDS):
                break
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.release()
        self._close()

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                line, _ = self._listener.accept()
                file = line.makefile("rwb")
                self._selector.register(line, selectors.EVENT_READ, file)
                continue
            file = key.data
            try:
                text = file.readline()
            except OSError:  # it died in the middle of a message
                text = b""
            if text.endswith(b"\n"):
                self._heard.append((decode(text), file))
            else:
                self._selector.unregister(key.fileobj)
                _close_quietly(file)

    def _close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                _close_quietly(key.data)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        shutil.rmtree(self._room, ignore_errors=True)


def _close_quietly(file: BufferedRWPair) -> None:
    """Close a connection, also where what was written last can no longer be sent."""
    with suppress(OSError):
        file.close()


def tail(log: Path, lines: int = 3, most: int = 400) -> str:
    """Return the last lines of a log that say something, on one line."""
    try:
        text = log.read_bytes()[-8192:].decode(errors="replace")
    except OSError:
        return ""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(said[-lines:])[-most:]
