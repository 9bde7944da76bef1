"""Whether a sweep's driver is alive, told and read through the storage alone.

The file by which a driver claims its epoch (`journal.claim_file`) says who it is, and the driver rewrites it
every few seconds. A reader on the same machine looks for the process itself, so that a killed driver is known
at once; a reader elsewhere goes by the age of the last sign, which takes a minute. The file is written in place
and at one length: another client of a network file system that opens it then sees the server's contents, while
a replaced file may stay hidden behind its cache of names.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.storage.journal import CLAIMS, claim_file
from orchestrator.storage.sweep_folder import SweepFolder

BEAT_SECONDS = 5.0
MINUTE_SECONDS = 60.0
SILENT_SECONDS = 60.0
"""After so many seconds without a sign a driver on another machine counts as dead; machines' clocks must agree
within them."""

_BYTES = 512
_START_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True)
class DriverSign:
    """What a driver says of itself: where it runs, since when, and when it said so last (Unix seconds).

    ``place`` names machine and process namespace: where it is the reader's own, ``pid`` can be looked up.
    """

    host: str
    place: str
    pid: int
    started: float
    beat: float
    ended: bool = False

    @property
    def alive(self) -> bool:
        """Whether the driver still runs."""
        if self.ended:
            return False
        if self.place == _place():
            return _runs(self.pid, self.started)
        return abs(time.time() - self.beat) < SILENT_SECONDS

    @property
    def label(self) -> str:
        """The driver in words."""
        return f"process {self.pid} on {self.host}"


@contextmanager
def driving(journal: Path, epoch: int, on_minute: Callable[[float], None]) -> Iterator[None]:
    """Show for the length of the block that this process drives the sweep of a journal.

    Args:
        journal: The sweep's journal.
        epoch: Its epoch, which this process has claimed.
        on_minute: Called at once and then every minute with the Unix time, for those who cannot see the storage.
    """
    file = claim_file(journal, epoch)
    sign = DriverSign(platform.node(), _place(), os.getpid(), _started(os.getpid()), time.time())
    _write(file, sign)
    ended = threading.Event()
    on_minute(sign.beat)

    def beat() -> None:
        told = time.monotonic()
        while not ended.wait(BEAT_SECONDS):
            _write(file, replace(sign, beat=time.time()))
            if time.monotonic() - told >= MINUTE_SECONDS:
                told = time.monotonic()
                on_minute(time.time())

    thread = threading.Thread(target=beat, name="driver-presence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _write(file, replace(sign, beat=time.time(), ended=True))


def read_driver(folder: SweepFolder) -> DriverSign | None:
    """Return what the latest driver of a sweep said of itself; None where it said nothing (an older version)."""
    claims = sorted(folder.root.glob(CLAIMS))
    try:
        values: dict[str, Any] = json.loads(claims[-1].read_text())
        return DriverSign(**values)
    except (OSError, ValueError, TypeError, IndexError):
        return None


def is_driven(folder: SweepFolder) -> bool:
    """Whether a driver of a sweep is alive."""
    sign = read_driver(folder)
    return sign is not None and sign.alive


def check_not_driven(folder: SweepFolder, where: str) -> None:
    """Raise if another process drives the sweep: two drivers would train every trial twice.

    Raises:
        StorageError: Says which process it is, and how to see it.
    """
    sign = read_driver(folder)
    if sign is not None and sign.alive:
        raise StorageError(
            where,
            "name",
            folder.name,
            f"this sweep is being run by {sign.label}",
            f"see it with 'orchestrate watch {folder.root}', or stop it there first (one that was killed on another "
            f"machine counts as gone after {SILENT_SECONDS:.0f} seconds)",
        )


def _write(file: Path, sign: DriverSign) -> None:
    """Write the sign over the last one. A disk that refuses must not disturb the sweep: readers see it grow old."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, json.dumps(asdict(sign)).ljust(_BYTES - 1).encode() + b"\n", 0)
        finally:
            os.close(descriptor)
    except OSError:
        return


def _place() -> str:
    """Name the machine since its last start and the namespace in which its process numbers count."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _started(pid: int) -> float:
    import psutil

    return float(psutil.Process(pid).create_time())


def _runs(pid: int, started: float) -> bool:
    """Whether the process that bore this number then still does; one that is dead but not yet reaped does not."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = bool(abs(process.create_time() - started) < _START_TOLERANCE_SECONDS)
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
