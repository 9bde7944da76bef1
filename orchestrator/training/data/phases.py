"""The training data divided into phases: by a tag that rows carry, or by the length of their answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError, nearest
from orchestrator.settings.trial_setup import Phase
from orchestrator.training.data.files import Row

_LISTED = 5


def phase_of_rows(rows: Sequence[Row], phases: Sequence[Phase], where: str) -> list[int]:
    """Return the index of the phase of each row, by the tags of the phases (``where``).

    Raises:
        DataError: If a row belongs to no phase or to two, a column is nowhere found, or a tag is no text or number.
    """
    wanted = [{path: _texts(values) for path, values in phase.where.items()} for phase in phases]
    paths = list(dict.fromkeys(path for tags in wanted for path in tags))
    _check_columns(rows, paths, where)
    found = [
        {path: _text(tag_of(row, path), path, number, where) for path in paths} for number, row in enumerate(rows, 1)
    ]
    fitting = [[i for i, tags in enumerate(wanted) if all(row[p] in tags[p] for p in tags)] for row in found]
    if lost := [row for row, fits in zip(found, fitting, strict=True) if not fits]:
        seen = Counter(tuple(row.items()) for row in lost).most_common(_LISTED)
        shown = "; ".join(f"{', '.join(f'{k} {v!r}' for k, v in tags)} ({count} rows)" for tags, count in seen)
        raise DataError(
            where,
            "data.phases",
            rule=f"{len(lost)} of {len(rows)} rows belong to no phase: {shown}",
            mend="name these values in data.phases.N.where; no row is left out silently",
        )
    if doubled := [number for number, fits in enumerate(fitting, 1) if len(fits) > 1]:
        names = " and ".join(phases[index].name for index in fitting[doubled[0] - 1])
        raise DataError(
            where,
            "data.phases",
            rule=f"{len(doubled)} of {len(rows)} rows belong to several phases (row {doubled[0]} to {names})",
            mend="let the tags of the phases exclude each other",
        )
    return [fits[0] for fits in fitting]


def tag_of(row: Mapping[str, object], path: str) -> object:
    """Return the value of a column; a dot leads into an object, or into an object written as JSON text. None: absent."""
    if path in row:
        return row[path]
    column, dot, rest = path.partition(".")
    inner = row.get(column)
    if not dot or inner is None:
        return None
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except json.JSONDecodeError:
            return None
    return tag_of(inner, rest) if isinstance(inner, dict) else None


def by_answer_length(
    lengths: NDArray[np.int64], names: Sequence[str], shares: Sequence[float]
) -> dict[str, NDArray[np.int64]]:
    """Divide rows by the length of their answers, the shortest first; every row is in exactly one phase.

    Args:
        lengths: Learned tokens of each row, ``[rows]``; rows of one length keep their order.
        names: Names of the phases.
        shares: Share of the rows of each, adding up to 1; borders are rounded to whole rows.

    Returns:
        Name -> row numbers, increasing.

    Raises:
        DataError: If a phase would be empty.
    """
    order = np.argsort(lengths, kind="stable")
    # Rounding the running sums, not the parts: the parts always add up to all rows.
    edges = [0, *np.rint(np.cumsum(shares) * len(lengths)).astype(int).tolist()]
    edges[-1] = len(lengths)
    parts = {
        name: np.sort(order[start:stop]).astype(np.int64)
        for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True)
    }
    if empty := [name for name, rows in parts.items() if len(rows) == 0]:
        raise DataError(
            "data",
            "phases",
            empty[0],
            f"this phase's share is less than one of the {len(lengths)} training rows",
            "give it a larger share, or more data",
        )
    return parts


def _check_columns(rows: Sequence[Row], paths: Sequence[str], where: str) -> None:
    for path in paths:
        if all(tag_of(row, path) is None for row in rows):
            known = list(dict.fromkeys(column for row in rows[:200] for column in row))
            mend = (
                nearest(path, known)
                or f"the columns are {', '.join(known)}; a dot leads into an object: metadata.phase"
            )
            raise DataError(where, "data.phases", path, "no row has this column", mend)


def _text(value: object, path: str, number: int, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise DataError(
            f"{where}: row {number}", path, value, "a tag that divides rows into phases must be text or a number"
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def _texts(values: object) -> frozenset[str]:
    listed = values if isinstance(values, list) else [values]
    return frozenset(_text(value, "where", 0, "data.phases") for value in listed)
