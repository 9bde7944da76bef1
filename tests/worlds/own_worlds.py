"""A worker's end of the line for trials inside the test's own process: it records every message and says when to stop."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.integrations import Trial
from orchestrator.integrations.assignment import TrialAssignment
from orchestrator.integrations.wire import decode, encode
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import EntrypointSettings

LEVELS = (16, 32, 64)


def assignment_for(root: Path, **changes: Any) -> TrialAssignment:
    """Return the assignment of a small trial: 64 samples in batches of 8, milestones at 16, 32 and 64."""
    values: dict[str, Any] = {
        "trial_id": "abc",
        "name": "lr0.1 ebs8 s0",
        "sweep": "small",
        "levels": LEVELS,
        "judged": ("eval/loss",),
        "config": TrialConfig("own", 8, 0.1, 64, method_options={"width": 3}),
        "known_milestones": 0,
        "known_samples": 0,
        "known_seconds": 0.0,
        "checkpoints": str(root / "own"),
        "socket": "",
        "log": str(root / "output.log"),
        "entrypoint": EntrypointSettings("script.py:train", folder=str(root)),
    }
    return TrialAssignment(**{**values, **changes})


class Worker:
    """Answers the trial on the other end: to go on, unless ``stop`` says otherwise of a message."""

    def __init__(self, stop: Callable[[dict[str, Any]], bool] = lambda message: False) -> None:
        self.messages: list[dict[str, Any]] = []
        self._stop = stop
        self._room = Path(tempfile.mkdtemp(prefix="peer-"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.place))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def place(self) -> Path:
        """Where it listens."""
        return self._room / "line"

    @property
    def milestones(self) -> list[dict[str, Any]]:
        """Milestones that were reported."""
        return [message["milestone"] for message in self.messages if message.get("milestone")]

    @property
    def signals(self) -> list[tuple[int, float]]:
        """Samples seen and loss of every training signal."""
        return [(row[1], row[3]) for message in self.messages for row in message.get("signals", ())]

    def trial(self, root: Path, **changes: Any) -> Trial:
        """Return a trial that reports here."""
        return Trial(assignment_for(root, **changes).listening_at(self.place))

    def close(self) -> None:
        """Hang up."""
        self._listener.close()
        shutil.rmtree(self._room, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, line.makefile("rwb") as file:
            for text in file:
                message = decode(text)
                self.messages.append(message)
                file.write(encode({"stop": self._stop(message)}))
                file.flush()
