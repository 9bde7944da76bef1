"""Messages between a trial's process and its worker: JSON, one line each, over a Unix socket of this user alone.

The trial asks, the worker answers; so a trial waits at a milestone simply because the answer is not there yet.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from io import BufferedRWPair
from typing import Any

Message = dict[str, Any]


class TrialEnded(SystemExit):
    """The trial is over for this process: raised out of `Trial.report` where the code goes on after it was told to stop.

    A kind of `SystemExit` with code 0, so that code which catches every `Exception` still ends, and quietly.
    """

    def __init__(self) -> None:
        super().__init__(0)


class Line:
    """The trial's end of the line; opened at the first message.

    Args:
        place: The worker's socket.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._file: BufferedRWPair | None = None

    def ask(self, message: Mapping[str, Any]) -> Message:
        """Send a message and return the answer, however long it takes.

        Raises:
            TrialEnded: If the worker is gone.
        """
        try:
            file = self._opened()
            file.write(encode(message))
            file.flush()
            answer = file.readline()
        except OSError:
            raise TrialEnded from None
        if not answer.endswith(b"\n"):
            raise TrialEnded
        return decode(answer)

    def close(self) -> None:
        """Hang up."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BufferedRWPair:
        if self._file is None:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.connect(self._place)
            self._file = line.makefile("rwb")
            line.close()  # the file keeps the connection open
        return self._file


class Silence:
    """The line of a process that does not speak; what it would say is answered with "go on"."""

    def ask(self, message: Mapping[str, Any]) -> Message:
        """Return the answer that changes nothing."""
        return {"stop": False}

    def close(self) -> None:
        """Nothing to hang up."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line; NaN and infinities pass as Python's JSON writes them."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line.

    Raises:
        ValueError: If it is none.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"a message is a mapping, got {line[:80]!r}")
    return message
