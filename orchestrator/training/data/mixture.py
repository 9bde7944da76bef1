"""How many rows of each source a mixture draws, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import MixturePart

_SALT = 0x6D6978


def mixture_counts(parts: Sequence[MixturePart], available: Mapping[str, int], limit: int | None) -> list[int]:
    """Return how many rows of each part a mixture holds.

    With weights it is the largest mixture in which no row is used twice; with rows, or neither, exactly those.
    ``limit`` makes the whole mixture smaller and keeps its proportions.

    Args:
        parts: The parts.
        available: Part name -> usable rows.
        limit: At most so many rows in all.

    Raises:
        DataError: If a part has fewer rows than it is asked for, or the mixture leaves one without any.
    """
    have = [available[part.name] for part in parts]
    if parts[0].weight is not None:
        weights = [part.weight or 0.0 for part in parts]
        largest = min(rows * sum(weights) / weight for rows, weight in zip(have, weights, strict=True))
        counts = _shared(min(int(largest + 1e-9), limit or int(largest + 1e-9)), weights)
    else:
        counts = [rows if part.rows is None else part.rows for part, rows in zip(parts, have, strict=True)]
        _check_enough(parts, counts, have)
        if limit is not None and limit < sum(counts):
            counts = _shared(limit, [float(count) for count in counts])
    for index, (part, count) in enumerate(zip(parts, counts, strict=True)):
        if count == 0:
            raise DataError(
                "data",
                f"mixture.{index}",
                part.name,
                f"this part has no row among the {sum(counts)} of the mixture",
                "give it a larger weight, or raise data.limit",
            )
    return counts


def draw_rows(available: int, count: int, seed: int, part: int) -> NDArray[np.int64]:
    """Return which rows of a part are drawn, int64, increasing; a larger count holds the rows of a smaller one.

    Args:
        available: Rows of the part.
        count: How many to draw, each at most once.
        seed: Seed of the draw (``data.split_seed``).
        part: Index of the part, so that two parts of the same source draw differently.
    """
    if count == available:
        return np.arange(available, dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _SALT, part + 1])))
    return np.sort(generator.permutation(available)[:count]).astype(np.int64)


def _check_enough(parts: Sequence[MixturePart], counts: Sequence[int], have: Sequence[int]) -> None:
    for index, (part, count, rows) in enumerate(zip(parts, counts, have, strict=True)):
        if count > rows:
            raise DataError(
                "data",
                f"mixture.{index}.rows",
                count,
                f"{part.train} has {rows} usable rows, and a mixture takes each at most once",
                f"ask for at most {rows}, or name the source in a second part as well",
            )


def _shared(total: int, weights: Sequence[float]) -> list[int]:
    """Share ``total`` out in proportion to weights (largest remainder; ties go to the earlier part)."""
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(share + 1e-9) for share in exact]
    remainders = [count - share for count, share in zip(counts, exact, strict=True)]
    for index in np.argsort(remainders, kind="stable")[: total - sum(counts)]:
        counts[int(index)] += 1
    return counts
