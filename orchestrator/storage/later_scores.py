"""Scores that came beside or after the training: a file of JSON lines in the sweep's folder, with many writers.

The journal has one writer, the driver; a command that scores checkpoints must not disturb it. Lines are appended under a
lock; a torn last line (kill, full disk) is skipped, and the next writer begins a new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.errors import StorageError


@dataclass(frozen=True)
class LaterScores:
    """Scores of one checkpoint.

    Args:
        trial_id: The trial; empty: the base model.
        index: Milestone of the checkpoint; -1 for the base model.
        samples_seen: Samples that it had seen.
        scores: Metric -> value.
        standard_errors: Metric -> standard error, NaN where it cannot be told.
        seconds: Wall time; next to nothing where they were in the cache.
        sets: The evaluation sets, as a sweep file would name them.
        time: Unix time.
        run_id: MLflow run that has these scores; empty: none, or unknown.
        failure: Why this checkpoint went unscored for good; empty where it was scored.
    """

    trial_id: str
    index: int
    samples_seen: int
    scores: Mapping[str, float]
    standard_errors: Mapping[str, float]
    seconds: float
    sets: tuple[Mapping[str, object], ...] = ()
    time: float = field(default_factory=lambda: round(time.time(), 3))
    run_id: str = ""
    failure: str = ""


def append_scores(path: Path, found: Iterable[LaterScores]) -> None:
    """Append scores durably.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        _append(path, found)
    except OSError as error:
        raise StorageError(str(path), rule=f"cannot be written: {error.strerror}") from error


def _append(path: Path, found: Iterable[LaterScores]) -> None:
    lines = "".join(json.dumps(_as_json(each)) + "\n" for each in found).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        left = memoryview((b"\n" if torn else b"") + lines)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_scores(path: Path) -> list[LaterScores]:
    """Return all whole records; none where there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [found for line in lines if line and (found := _parse(line)) is not None]


def latest(found: Iterable[LaterScores], trial_id: str, index: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return scores and standard errors of one checkpoint; of a metric that was scored twice, the later."""
    scores: dict[str, float] = {}
    errors: dict[str, float] = {}
    for each in found:
        if each.trial_id == trial_id and each.index == index:
            scores |= each.scores
            errors |= each.standard_errors
    return scores, errors


def same_scores(one: LaterScores, other: LaterScores) -> bool:
    """Whether two records say the same of the same checkpoint."""
    return _said(one) == _said(other)


def _said(found: LaterScores) -> list[object]:
    # As text: NaN is not equal to itself.
    return [
        found.trial_id,
        found.index,
        found.samples_seen,
        *(
            sorted((name, repr(float(value))) for name, value in values.items())
            for values in (found.scores, found.standard_errors)
        ),
    ]


def unscored(found: Iterable[LaterScores]) -> int:
    """Return how many checkpoints went unscored for good."""
    known = list(found)
    failed = {(each.trial_id, each.index) for each in known if each.failure}
    return len(failed - {(each.trial_id, each.index) for each in known if each.scores})


def _as_json(found: LaterScores) -> dict[str, object]:
    values = asdict(found)
    if not found.failure:
        del values["failure"]
    for name in ("scores", "standard_errors"):
        values[name] = {key: None if math.isnan(value) else value for key, value in values[name].items()}
    return values


def _parse(line: bytes) -> LaterScores | None:
    try:
        values = json.loads(line)
        for name in ("scores", "standard_errors"):
            values[name] = {key: math.nan if value is None else float(value) for key, value in values[name].items()}
        return LaterScores(**{**values, "sets": tuple(values["sets"])})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
