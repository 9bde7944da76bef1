"""One trial of a recorded sweep as one JSON object: checked when it is read, compact when it is written.

A value that is not a number is written as ``null`` and an infinity as ``1e999``, so that every line is valid
JSON; the literals ``NaN`` and ``Infinity`` that Python writes are read as well.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, TypeGuard, get_args

import numpy as np

from orchestrator.errors import DataError, nearest
from orchestrator.simulation.recorded.sweep import SIGNAL_COLUMNS, RecordedTrial, Status

FIELDS = ("sweep", "trial", "config", "cohort", "signals", "evals", "final", "samples", "seconds", "status")
CONFIG_FIELDS = ("method", "effective_batch_size", "learning_rate", "seed")
STATUSES: tuple[Status, ...] = get_args(Status)
LARGEST_COUNT = 2**53
"""Whole numbers up to here are exact as floating-point numbers."""

Evals = tuple[tuple[int, Mapping[str, float]], ...]


def parse_trial(values: object, where: str) -> tuple[str, RecordedTrial]:
    """Check one JSON value and return the name of its sweep and the trial.

    Metrics that a trial has in some of its evaluations only are left out of ``evals``: nothing can be judged by
    them at a milestone. They stay in ``final``.

    Raises:
        DataError: Names ``where``, the field, its value, the rule and the mend.
    """
    fields = _fields(values, where)
    status = fields["status"]
    if status not in STATUSES:
        mend = nearest(str(status), STATUSES) or f"write one of {', '.join(STATUSES)}"
        raise DataError(where, "status", status, f"must be one of {', '.join(STATUSES)}", mend)
    final = _scores(fields["final"], where, "final")
    if status == "completed" and not final:
        raise DataError(
            where,
            "final",
            final,
            "a completed trial needs at least one metric in its final scores",
            "add the scores at the end of training, or say that the trial diverged",
        )
    trial = RecordedTrial(
        trial=_text(fields["trial"], where, "trial"),
        config=_config(fields["config"], where),
        cohort=_text(fields["cohort"], where, "cohort", may_be_empty=True),
        signals=_signals(fields["signals"], where),
        evals=_evals(fields["evals"], where),
        final=final,
        samples=_count(fields["samples"], where, "samples", 1),
        seconds=_seconds(fields["seconds"], where),
        status=status,
    )
    return _text(fields["sweep"], where, "sweep"), trial


def format_trial(sweep: str, trial: RecordedTrial) -> str:
    """Return a trial as one line of JSON, without its line end.

    Signals and scores keep six significant digits, ``seconds`` too; the configuration is exact.

    Raises:
        DataError: If the configuration holds something that JSON has no form for.
    """
    try:
        config = json.dumps(dict(trial.config), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"sweep {sweep}, trial {trial.trial}",
            "config",
            rule=f"cannot be written as JSON: {error}",
            mend="keep texts, finite numbers, lists and mappings of them in it",
        ) from error
    evals = ",".join(f"[{samples},{_scores_text(scores)}]" for samples, scores in trial.evals)
    parts = {
        "sweep": json.dumps(sweep),
        "trial": json.dumps(trial.trial),
        "config": config,
        "cohort": json.dumps(trial.cohort),
        "signals": f"[{','.join(map(_signal_text, trial.signals.tolist()))}]",
        "evals": f"[{evals}]",
        "final": _scores_text(trial.final),
        "samples": str(int(trial.samples)),
        "seconds": number_text(trial.seconds),
        "status": json.dumps(trial.status),
    }
    return "{" + ",".join(f'"{key}":{text}' for key, text in parts.items()) + "}"


def number_text(value: float) -> str:
    """Return a number as JSON with six significant digits; ``null`` for one that is not a number."""
    if math.isnan(value):
        return "null"
    if math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return f"{value + 0.0:.6g}"  # adding zero turns -0.0, which JSON readers take for a whole number, into 0.0


def _signal_text(row: Iterable[float]) -> str:
    samples, *numbers = row
    return f"[{','.join([str(int(samples)), *map(number_text, numbers)])}]"


def _scores_text(scores: Mapping[str, float]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{number_text(value)}" for name, value in scores.items()) + "}"


# -- checks --------------------------------------------------------------------------------------------


def _fields(values: object, where: str) -> dict[str, object]:
    if not isinstance(values, dict):
        raise DataError(
            where,
            value=_shown(values),
            rule="each line must be a JSON object, one trial",
            mend="write one object with named fields a line",
        )
    missing = [name for name in FIELDS if name not in values]
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        mend = nearest(unknown[0], missing or FIELDS) or "put what else is known of a trial into config"
        raise DataError(where, unknown[0], _shown(values[unknown[0]]), "this field is not known here", mend)
    if missing:
        raise DataError(
            where, missing[0], rule="this field is missing", mend=f"every trial has the fields {', '.join(FIELDS)}"
        )
    return values


def _config(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, "config", value, "an object", "name the trial's hyperparameters")
    for name in CONFIG_FIELDS:
        if name not in value:
            # A misspelt field stands beside the known ones, since the config may hold any others.
            mend = nearest(name, value.keys() - set(CONFIG_FIELDS)).replace("did you mean", "did you write it as")
            raise DataError(
                where,
                f"config.{name}",
                rule="this field is missing",
                mend=mend or f"a config has at least {', '.join(CONFIG_FIELDS)}",
            )
    _text(value["method"], where, "config.method")
    _count(value["effective_batch_size"], where, "config.effective_batch_size", 1)
    _count(value["seed"], where, "config.seed", None)
    rate = value["learning_rate"]
    if not _is_number(rate) or not 0 < rate <= sys.float_info.max:
        raise _wrong(where, "config.learning_rate", rate, "a finite number above 0", "give the peak learning rate")
    epochs = value.get("epochs", 1.0)
    if not _is_number(epochs) or not 0 < epochs <= sys.float_info.max:
        raise _wrong(
            where,
            "config.epochs",
            epochs,
            "a finite number above 0",
            "give the budget in samples over the training rows, or leave it out",
        )
    return value


def _signals(rows: object, where: str) -> np.ndarray:
    """Return the rows as float64 of shape [steps, 5]."""
    if not isinstance(rows, list):
        raise _wrong(where, "signals", rows, "a list of rows", f"a row is [{', '.join(SIGNAL_COLUMNS)}]")
    if not rows:
        return np.empty((0, len(SIGNAL_COLUMNS)))
    if not _are_rows(rows):
        raise next(_wrong_row(row, where, f"signals.{index}") for index, row in enumerate(rows) if not _are_rows([row]))
    table = np.array(rows, dtype=np.float64)
    steps = table[:, 0]
    counts = np.isfinite(steps) & (steps == np.floor(steps)) & (steps >= 1) & (steps <= LARGEST_COUNT)
    if not counts.all():
        index = int(np.argmin(counts))
        _count(rows[index][0], where, f"signals.{index}.samples_seen", 1)
    falling = np.flatnonzero(np.diff(steps) <= 0)
    if len(falling):
        raise _not_rising(where, f"signals.{falling[0] + 1}.samples_seen", rows[falling[0] + 1][0], rows[falling[0]][0])
    return table


def _are_rows(rows: list[Any]) -> bool:
    """Whether all are lists of five numbers; written for speed, a sweep has tens of thousands of them."""
    if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(SIGNAL_COLUMNS)}:
        return False
    kinds = set(map(type, chain.from_iterable(rows)))
    if int in kinds and any(type(value) is int and abs(value) > LARGEST_COUNT for value in chain.from_iterable(rows)):
        return False
    return kinds <= {int, float, type(None)}


def _wrong_row(row: object, where: str, field: str) -> DataError:
    layout = f"[{', '.join(SIGNAL_COLUMNS)}]"
    if not isinstance(row, list) or len(row) != len(SIGNAL_COLUMNS):
        return DataError(
            where,
            field,
            _shown(row),
            f"a row of signals is a list of {len(SIGNAL_COLUMNS)} numbers",
            f"write {layout}, with null for what was not measured",
        )
    name, value = next(pair for pair in zip(SIGNAL_COLUMNS, row, strict=True) if not _may_be_signal(pair[1]))
    return _wrong(where, f"{field}.{name}", value, "a number or null", f"write {layout}")


def _may_be_signal(value: object) -> bool:
    return value is None or (_is_number(value) and (isinstance(value, float) or abs(value) <= LARGEST_COUNT))


def _evals(rows: object, where: str) -> Evals:
    if not isinstance(rows, list):
        raise _wrong(where, "evals", rows, "a list of evaluations", "an evaluation is [samples_seen, {metric: value}]")
    found: list[tuple[int, dict[str, float]]] = []
    for index, row in enumerate(rows):
        field = f"evals.{index}"
        if not isinstance(row, list) or len(row) != 2:
            raise DataError(
                where,
                field,
                _shown(row),
                "an evaluation is a list of two: samples seen and its scores",
                "write [samples_seen, {metric: value}]",
            )
        samples, scores = _count(row[0], where, f"{field}.samples_seen", 0), _scores(row[1], where, f"{field}.scores")
        if found and samples <= found[-1][0]:
            raise _not_rising(where, f"{field}.samples_seen", samples, found[-1][0])
        found.append((samples, scores))
    return _with_common_metrics(found, where)


def _with_common_metrics(evals: list[tuple[int, dict[str, float]]], where: str) -> Evals:
    if not evals:
        return ()
    common = set(evals[0][1]).intersection(*(scores for _, scores in evals))
    if not common:
        raise DataError(
            where,
            "evals",
            rule="no metric is measured in every evaluation of this trial",
            mend="measure the objective at each of them",
        )
    return tuple((samples, {name: scores[name] for name in scores if name in common}) for samples, scores in evals)


def _scores(value: object, where: str, field: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong(where, field, value, "an object of metrics", "write {metric: value}")
    for name, score in value.items():
        if not _may_be_signal(score):
            raise _wrong(where, f"{field}.{name}", score, "a number or null", "null says that it is not a number")
    return {name: math.nan if score is None else float(score) for name, score in value.items()}


def _text(value: object, where: str, field: str, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise _wrong(where, field, value, "a text" if may_be_empty else "a text that is not empty", "put it in quotes")
    return value


def _count(value: object, where: str, field: str, least: int | None) -> int:
    if (
        not _is_number(value)
        or not abs(value) <= LARGEST_COUNT  # infinite, or too long for a float
        or value != int(value)
        or (least is not None and value < least)
    ):
        kind = "a whole number" if least is None else f"a whole number of at least {least}"
        mend = "count in training samples" if "samples" in field else "write digits, without quotes and fraction"
        raise _wrong(where, field, value, kind, mend)
    return int(value)


def _seconds(value: object, where: str) -> float:
    if not _is_number(value) or not 0 <= value <= sys.float_info.max:
        raise _wrong(where, "seconds", value, "a finite number of at least 0", "give the seconds of training")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _not_rising(where: str, field: str, value: object, before: object) -> DataError:
    return DataError(
        where,
        field,
        value,
        f"samples seen must rise from row to row, and the row before has {before}",
        "sort the rows and keep one for each optimizer step",
    )


def _wrong(where: str, field: str, value: object, kind: str, mend: str) -> DataError:
    return DataError(where, field, _shown(value), f"must be {kind}{' (it is null)' if value is None else ''}", mend)


def _shown(value: object) -> object:
    """Shorten what an error shows: a digit string of thousands cannot even be printed."""
    return "a very long number" if isinstance(value, int) and abs(value) > 10**30 else value
