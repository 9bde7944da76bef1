"""A process that has imported the libraries of the user's code, and forks one process per trial from itself.

Importing torch and its kin takes longer than many a milestone, and a trial that pauses needs a process again later. The
fork server imports installed libraries only, none of the user's modules, so it holds no model, and it refuses to fork where a
library has started threads or a CUDA context, which a fork cannot carry over; each trial is then started anew.

It reads paths of assignments, one a line, and writes lines of JSON: ``{"pid": 17}`` or ``{"refused": "why"}`` for each, and
``{"pid": 17, "exit": 0}`` when a process has ended, negative for a signal.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from orchestrator.integrations.wire import encode


def serve(libraries: Iterable[str], train: Callable[[str, int], int]) -> int:
    """Fork processes until the worker is gone; returns the exit code.

    Args:
        libraries: ``MODULE`` or ``MODULE:NAME``; what cannot be imported is told by the user's code that imports it.
        train: Trains the trial of a assignment (path, descriptor of the lifeline) in the new process.
    """
    answers = _own_standard_output()
    for name in libraries:
        module, _, member = name.partition(":")
        with suppress(Exception):
            getattr(importlib.import_module(module), member or "__name__")
    bell, hammer = _bell_of_children()
    while True:
        ready, _, _ = select.select([0, bell], [], [])
        if bell in ready:
            os.read(bell, 64)
            _tell_ended(answers)
        if 0 in ready:
            place = _line()
            if not place:
                return 0
            if _forked(place, answers):
                for descriptor in (answers, bell, hammer):
                    os.close(descriptor)
                return train(place, 0)


def _forked(place: str, answers: int) -> bool:
    """Start the process of a trial, or say why not; returns whether this is that process."""
    reason = _unfit()
    pid = -1 if reason else os.fork()
    if pid:
        os.write(answers, encode({"refused": reason} if reason else {"pid": pid}))
        return False
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _reseed()
    return True


def _unfit() -> str:
    """Return why this process must not fork; empty where it may."""
    if threading.active_count() > 1:
        return "a library has started threads as it was imported"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "a library has opened the GPU as it was imported"
    return ""


def _reseed() -> None:
    """Give the process random numbers of its own where the code asks for none in particular; ``random`` does so itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _own_standard_output() -> int:
    """Keep the pipe to the worker for answers alone: what libraries print as they are imported goes elsewhere."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _bell_of_children() -> tuple[int, int]:
    """Return a descriptor that becomes readable when a child ends, and the one that makes it so."""
    bell, hammer = os.pipe()
    os.set_blocking(hammer, False)
    signal.set_wakeup_fd(hammer)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return bell, hammer


def _line() -> str:
    """Read one line from the worker; empty at its end."""
    found = b""
    while not found.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return ""
        found += byte
    return found.decode().strip()


def _tell_ended(answers: int) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            os.write(answers, encode({"pid": pid, "exit": os.waitstatus_to_exitcode(status)}))
