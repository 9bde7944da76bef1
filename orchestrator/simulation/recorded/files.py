"""Files of recorded sweeps: JSON lines, one trial a line, compressed when the name ends in ``.gz``.

The format is described in ``docs/recorded-sweeps.md``. Lines are read and written one at a time.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from orchestrator.errors import DataError, StorageError
from orchestrator.simulation.recorded.lines import format_trial, parse_trial
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial

MIN_TRIALS = 2

_Placed = tuple[str, RecordedTrial]
"""Where a trial stands (``file:line``), and the trial."""


def read_recorded(paths: Sequence[Path]) -> list[RecordedSweep]:
    """Read recorded sweeps.

    Args:
        paths: Files; a file may hold several sweeps, and trials of one name in several files are one sweep.

    Returns:
        The sweeps in the order in which they first appear.

    Raises:
        DataError: If a file cannot be read or anything in it breaks the format (names file, line and field).
    """
    sweeps: dict[str, dict[str, _Placed]] = {}
    for path in paths:
        for where, values in _lines(Path(path)):
            name, trial = parse_trial(values, where)
            trials = sweeps.setdefault(name, {})
            if trial.trial in trials:
                raise DataError(
                    where,
                    "trial",
                    trial.trial,
                    f"sweep {name} has this trial already, at {trials[trial.trial][0]}",
                    "give every trial an id of its own, and every sweep a name of its own",
                )
            trials[trial.trial] = (where, trial)
    if not sweeps:
        raise DataError("recorded sweeps", rule="no file was given", mend="name at least one recorded file")
    return [_sweep(name, list(trials.values())) for name, trials in sweeps.items()]


def write_recorded(sweep: RecordedSweep, path: Path) -> None:
    """Write a sweep as a file that `read_recorded` reads; an existing file is replaced as a whole.

    Equal sweeps give equal bytes. Signals and scores keep six significant digits.

    Raises:
        DataError: If a configuration holds something that JSON has no form for.
        StorageError: If the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as raw, _compressed(raw, path) as stream:
            for trial in sweep.trials:
                stream.write(f"{format_trial(sweep.name, trial)}\n".encode())
        draft.replace(path)
    except OSError as error:
        raise StorageError(
            str(path),
            rule=f"cannot be written: {error.strerror or error}",
            mend="choose a place that exists and has room",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _sweep(name: str, placed: list[_Placed]) -> RecordedSweep:
    where, first = placed[0]
    if len(placed) < MIN_TRIALS:
        raise DataError(
            where,
            "trial",
            first.trial,
            f"sweep {name} has this one trial only, of {MIN_TRIALS} at least",
            "record more trials, or check the field sweep of each line",
        )
    _check_same_metrics(name, [(place, trial) for place, trial in placed if trial.evals])
    return RecordedSweep(name, tuple(trial for _, trial in placed))


def _check_same_metrics(name: str, placed: list[_Placed]) -> None:
    for where, trial in placed[1:]:
        there, other = set(placed[0][1].evals[0][1]), set(trial.evals[0][1])
        if there != other:
            raise DataError(
                where,
                "evals",
                ", ".join(sorted(other)),
                f"mixed objectives: all trials of sweep {name} must have the same metrics at their evaluations, "
                f"and {placed[0][0]} has {', '.join(sorted(there))}",
                "measure the same metrics in every trial, or give trials with others another sweep name",
            )


def _compressed(raw: IO[bytes], path: Path) -> IO[bytes]:
    # No name and no time in the header: the same sweep is the same bytes wherever and whenever it is written.
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if _is_gzip(path) else raw  # type: ignore[return-value]


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _lines(path: Path) -> Iterator[tuple[str, object]]:
    """Yield ``file:line`` and the JSON value of every line that is not blank."""
    number, found = 0, False
    try:
        with gzip.open(path, "rb") if _is_gzip(path) else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    found = True
                    yield f"{path}:{number}", _json(line, f"{path}:{number}", path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}:{number + 1}",
            rule=f"cannot be decompressed: {error}",
            mend="the file is damaged or no gzip file; write it anew, or name it without .gz",
        ) from error
    except FileNotFoundError as error:
        raise DataError(str(path), rule="there is no such file", mend="check the path") from error
    except OSError as error:
        raise DataError(str(path), rule=f"cannot be read: {error.strerror or error}", mend="name a file") from error
    if not found:
        raise DataError(str(path), rule="the file is empty", mend="a recorded file has one trial a line")


def _json(line: bytes, where: str, path: Path) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        zipped = line[:2] == b"\x1f\x8b"
        mend = "it is compressed: let its name end in .gz" if zipped else "convert the file to UTF-8"
        raise DataError(where, rule="must be UTF-8 text", mend=mend) from error
    except json.JSONDecodeError as error:
        raise DataError(
            where,
            rule=f"is not valid JSON: {error.msg} (column {error.colno})",
            mend="each line must be one whole JSON object",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise DataError(
            where, rule=f"is not usable JSON: {error}", mend="each line must be one JSON object of a trial"
        ) from error
