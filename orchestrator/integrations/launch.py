"""The process of one trial, started by a worker: ``python -m orchestrator.integrations.launch train ASSIGNMENT``.

It calls the user's function or runs the user's command, and ends with it. Its standard input is a lifeline: when the
worker is gone, so is the other end of that pipe, and the whole process group is killed. ``serve LIBRARY ...`` is a
process that imports libraries once and forks such processes from itself (`orchestrator.integrations.fork_server`).
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import inspect
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from orchestrator.errors import EntrypointError
from orchestrator.integrations.assignment import VARIABLE, TrialAssignment, read_assignment
from orchestrator.integrations.trial import Trial
from orchestrator.integrations.wire import Line
from orchestrator.spec.trial.command_words import filled, trial_values

FAILED = 1
NOT_FOUND = 127


def train(place: str, lifeline: int) -> int:
    """Train one trial; returns the exit code.

    Args:
        place: Path of its assignment.
        lifeline: Descriptor of a pipe whose other end the worker holds.
    """
    os.environ[VARIABLE] = place
    assignment = read_assignment(Path(place))
    _print_to(Path(assignment.log))
    _hold(lifeline, Path(place).parent)
    os.chdir(assignment.entrypoint.folder)
    if not assignment.entrypoint.function:
        return _execute(assignment)
    _leave(_call(assignment))


def _leave(code: int) -> NoReturn:
    """End this process without taking its modules apart, which takes more than a second once torch is imported."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _hold(lifeline: int, room: Path) -> None:
    """Die with the worker, and all that was started with it; ``room`` is what the worker would have cleared away."""
    held = os.dup(lifeline)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)

    def wait() -> None:
        # No event is asked for, so that nothing is read away: a hang-up is told all the same.
        poll = select.poll()
        poll.register(held, 0)
        poll.poll()
        shutil.rmtree(room, ignore_errors=True)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _print_to(log: Path) -> None:
    """Send everything that this process and its children print to a file, at its end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def load_function(assignment: TrialAssignment) -> Callable[[Trial], object]:
    """Import the user's function.

    Raises:
        EntrypointError: If file, module or function are missing, or it cannot be called with a trial.
    """
    place, _, name = assignment.entrypoint.function.rpartition(":")
    module = _import_file(assignment, Path(place)) if place.endswith(".py") else _import_module(assignment, place)
    function: Callable[[Trial], object] | None = getattr(module, name, None)
    if function is None or not callable(function):
        raise _wrong(assignment, f"{place} has no function named '{name}'")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise _wrong(
            assignment, f"{name} must take exactly one argument, the trial", f"write def {name}(trial): ..."
        ) from None
    except ValueError:
        pass  # a callable that does not tell its arguments
    return function


def _call(assignment: TrialAssignment) -> int:
    try:
        function = load_function(assignment)
    except EntrypointError as error:
        Line(assignment.socket).ask(
            {"kind": "misuse", "error": [error.where, error.field, None, error.rule, error.mend]}
        )
        return FAILED
    except Exception as error:  # noqa: BLE001
        return _told(assignment, error)
    trial = Trial(assignment)
    try:
        function(trial)
    except EntrypointError:
        traceback.print_exc()  # the trial has told the worker already
        return FAILED
    except SystemExit as error:
        return _exit_code(error)
    except Exception as error:  # noqa: BLE001
        return _told(assignment, error)
    finally:
        trial.close()
    return 0


def _exit_code(error: SystemExit) -> int:
    """Return what an interpreter would end with; a text is printed and means a failure."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    sys.stderr.write(f"{error.code}\n")
    return FAILED


def _told(assignment: TrialAssignment, error: Exception) -> int:
    """Tell the worker what the code raised, and where."""
    traceback.print_exc()
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    inside = [frame for frame in own if Path(frame.filename).is_relative_to(assignment.entrypoint.folder)]
    place = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in (inside or own)[-1:])
    lines = str(error).strip().splitlines() or [""]
    Line(assignment.socket).ask({"kind": "failure", "error": f"{type(error).__name__}: {lines[0][:300]}{place}"})
    return FAILED


def _execute(assignment: TrialAssignment) -> int:
    values = trial_values(assignment.config, assignment.trial_id, assignment.checkpoints)
    words = filled(assignment.entrypoint.command, values)
    print("$", " ".join(words), flush=True)
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        wrong = _wrong(assignment, f"the command cannot be started ({error})")
        Line(assignment.socket).ask(
            {"kind": "misuse", "error": [wrong.where, wrong.field, None, wrong.rule, wrong.mend]}
        )
        return NOT_FOUND
    if done.returncode < 0:
        # Die of the same signal: a process that was killed for its memory is tried again, one that failed is not.
        signal.signal(-done.returncode, signal.SIG_DFL) if -done.returncode != signal.SIGKILL else None
        os.kill(os.getpid(), -done.returncode)
    return done.returncode


def _import_file(assignment: TrialAssignment, path: Path) -> ModuleType:
    if not path.is_file():
        raise _wrong(assignment, f"there is no file {path.resolve()}")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Known by name, so that its classes can be found again by whoever unpickles them (data loader workers).
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _import_module(assignment: TrialAssignment, name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise _wrong(assignment, f"there is no module '{error.name}'") from None


def _wrong(assignment: TrialAssignment, rule: str, mend: str = "") -> EntrypointError:
    field = "entrypoint.function" if assignment.entrypoint.function else "entrypoint.command"
    return EntrypointError(assignment.where, field, None, rule, mend)


def main(arguments: list[str]) -> int:
    """Run ``train ASSIGNMENT`` or ``serve LIBRARY ...``; returns the exit code."""
    if arguments[0] == "train":
        return train(arguments[1], 0)
    from orchestrator.integrations.fork_server import serve

    return serve(arguments[1:], train)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
