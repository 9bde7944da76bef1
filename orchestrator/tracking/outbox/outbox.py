"""The outbox: an append-only file of events, and how far they have been delivered.

``outbox.jsonl`` holds one event per line. A line torn by a crash is cut off at the next start, a
damaged one is skipped and counted. ``outbox.ack.json`` says up to which byte a sink has taken them, and
which run ids it gave. One process writes; appending is one ``write`` call, so that a killed process
loses nothing, and `sync` (called by the delivery thread, never by the caller) guards against a power cut.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.tracking.events import Event, EventKind

UNSAVED_LIMIT = 100_000
"""Events kept in memory while the file cannot be written; older ones are then given up."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far a sink has taken the outbox."""

    sink: str = ""
    offset: int = 0
    run_ids: Mapping[str, str] = field(default_factory=dict)
    experiment_id: str = ""


def read_acknowledged(file: Path) -> Acknowledged:
    """Return how far a sink has taken the outbox of a file, from another process; nothing where it is unknown."""
    try:
        return Acknowledged(**json.loads(file.with_suffix(".ack.json").read_text()))
    except (OSError, ValueError, TypeError):
        return Acknowledged()


class Outbox:
    """The outbox of one sweep.

    Args:
        file: The events' file; its folder is made when missing. A file that cannot be written is no
            error here: events then wait in memory and `error` says why.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.error = ""
        self.lost = 0
        self.damaged = 0
        self._lock = threading.Lock()
        self._unsaved: deque[bytes] = deque()
        self._descriptor: int | None = None
        self._size = 0
        self._dirty = False
        with self._lock:
            self._try_open()

    @property
    def files_folder(self) -> Path:
        """Where copies of artifact files wait."""
        return self.file.with_suffix(".files")

    @property
    def size(self) -> int:
        """Bytes of whole events on disk."""
        return self._size

    @property
    def unsaved(self) -> int:
        """Events that wait in memory because the file cannot be written."""
        return len(self._unsaved)

    def append(self, event: Event) -> None:
        """Add an event; never raises for a disk's sake."""
        line = event_line(event)
        with self._lock:
            self._unsaved.append(line)
            self._save()
            while len(self._unsaved) > UNSAVED_LIMIT:
                self._unsaved.popleft()
                self.lost += 1

    def retry(self) -> None:
        """Try to write what waits in memory."""
        with self._lock:
            if self._unsaved:
                self._save()

    def sync(self) -> None:
        """Force what was written to the disk."""
        if not self._dirty or self._descriptor is None:
            return
        self._dirty = False
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self.error = f"cannot sync {self.file}: {error.strerror}"

    def read(self, offset: int, limit_bytes: int) -> tuple[list[Event], int]:
        """Read whole events from an offset on; return them and the offset behind the last one.

        Raises:
            OSError: If the file cannot be read.
        """
        with self.file.open("rb") as stream:
            stream.seek(offset)
            block = stream.read(min(limit_bytes, max(0, self._size - offset)))
            if block and not block.endswith(b"\n") and offset + len(block) < self._size:
                block += stream.readline()
        end = block.rfind(b"\n") + 1
        return list(self._parse(block[:end])), offset + end

    def events(self) -> Iterator[Event]:
        """Yield every event on disk, oldest first."""
        offset = 0
        while offset < self._size:
            events, offset = self.read(offset, 1 << 22)
            yield from events

    def acknowledged(self) -> Acknowledged:
        """Return how far a sink has taken the outbox; the start when that is unknown."""
        # Unknown: redelivering everything is always right (sinks are idempotent), only slower.
        found = read_acknowledged(self.file)
        return found if found.offset <= self._size else Acknowledged()

    def acknowledge(self, state: Acknowledged) -> None:
        """Remember how far a sink has taken the outbox (atomic replacement)."""
        values = {
            "sink": state.sink,
            "offset": state.offset,
            "run_ids": dict(state.run_ids),
            "experiment_id": state.experiment_id,
        }
        temporary = self._ack_file.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(values))
            os.replace(temporary, self._ack_file)
        except OSError as error:
            self.error = f"cannot write {self._ack_file}: {error.strerror}"

    def reject(self, event: Event, reason: str) -> None:
        """Keep an event that the store refuses for good, with its reason, beside the outbox."""
        try:
            with self.file.with_suffix(".rejected.jsonl").open("ab") as stream:
                stream.write(json.dumps({"reason": reason}).encode() + b" " + event_line(event))
        except OSError as error:
            self.error = f"cannot write beside {self.file}: {error.strerror}"

    def close(self) -> None:
        """Write and sync what can be, and let go of the file."""
        self.retry()
        self.sync()
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    @property
    def _ack_file(self) -> Path:
        return self.file.with_suffix(".ack.json")

    def _parse(self, block: bytes) -> Iterator[Event]:
        for line in block.splitlines():
            try:
                yield read_event(line)
            except ValueError:
                self.damaged += 1

    def _try_open(self) -> bool:
        if self._descriptor is not None:
            return True
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            self.error = f"cannot open {self.file}: {error.strerror}"
            return False
        self._descriptor, self._size = descriptor, _end_of_last_line(descriptor)
        self._cut_torn_line()
        return True

    def _save(self) -> None:
        """Write waiting lines in order; on failure keep them and cut off a half-written one."""
        if not self._try_open() or self._descriptor is None:
            return
        try:
            while self._unsaved:
                line = self._unsaved[0]
                written = os.write(self._descriptor, line)
                if written < len(line):
                    raise OSError(28, os.strerror(28))
                self._size += written
                self._unsaved.popleft()
                self._dirty = True
            self.error = ""
        except OSError as error:
            self.error = f"cannot write {self.file}: {error.strerror}"
            self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        if self._descriptor is None or os.fstat(self._descriptor).st_size == self._size:
            return
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError as error:
            self.error = f"cannot repair {self.file}: {error.strerror}"


def event_line(event: Event) -> bytes:
    """Return an event as one JSON line, with its line end."""
    values = [event.kind, event.run, event.timestamp_ms, event.body, event.keys]
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read_event(line: bytes) -> Event:
    """Read what `event_line` wrote.

    Raises:
        ValueError: If the line is not a whole event.
    """
    values = json.loads(line)
    if not isinstance(values, list) or len(values) != 5:
        raise ValueError(f"an outbox line holds five values, got {line[:60]!r}")
    kind, run, timestamp_ms, body, keys = values
    return Event(EventKind(kind), run, timestamp_ms, body, tuple(keys))


def _end_of_last_line(descriptor: int) -> int:
    """Return the offset behind the last line end of a file (0 without one)."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
