"""The order in which a trial sees its samples: a function of the seed and the epoch alone.

An order is an endless-looking stream of row numbers of which a trial reads slices: optimizer step ``k``
takes positions ``k * B`` to ``(k + 1) * B``, across epoch borders. The effective batch size ``B`` never
enters, so trials with other batch sizes see the same samples in the same order, and the position in the
stream (samples seen) is all that must be saved to resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import SpecError

Rows = NDArray[np.int64]
_REPLAY_SALT = 7


class SampleOrder(Protocol):
    """A stream of row numbers."""

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows at stream positions ``start`` to ``stop`` (exclusive), int64 ``[stop - start]``."""
        ...

    def epoch(self, position: int) -> int:
        """Return how many whole epochs lie before ``position``."""
        ...


class StackedOrder:
    """All data at once: one permutation of all rows per epoch.

    Args:
        rows: Number of rows, at least 1.
        seed: Trial seed; epoch ``e`` is permuted by a Philox generator seeded with ``[seed, e, *salt]``.
        salt: Further seed words (the phase index under `PhasedOrder`).

    Raises:
        ValueError: If there are no rows.
    """

    def __init__(self, rows: int, seed: int, salt: tuple[int, ...] = ()) -> None:
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        self.rows, self.seed, self.salt = rows, seed, salt

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows at stream positions ``start`` to ``stop`` (exclusive)."""
        parts = []
        while start < stop:
            epoch, offset = divmod(start, self.rows)
            end = min(offset + stop - start, self.rows)
            parts.append(_permutation(self.rows, self.seed, epoch, self.salt)[offset:end])
            start += end - offset
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def epoch(self, position: int) -> int:
        """Return how many whole epochs lie before ``position``."""
        return position // self.rows


class PhasedOrder:
    """One phase after the other: all epochs of phase 1, then all epochs of phase 2, and so on.

    A budget of ``samples`` is shared out in proportion to the phases' rows (largest remainder, so the
    shares add up exactly); with a budget of ``e`` whole epochs each phase gets exactly ``e`` epochs.
    Within a phase, epoch ``e`` of phase ``i`` is permuted by ``(seed, e, i)``. Past the budget the last
    phase goes on.

    A phase with replay also trains rows of earlier phases: drawn once per trial by its seed, each at most once,
    they count as rows of the phase in all of the above.

    Args:
        phases: Row numbers of each phase, in training order, none empty.
        samples: The trial's budget in samples.
        seed: Trial seed.
        replay: Per phase, the share of all rows of the earlier phases that it trains again (0 to 1; above 0 at
            least one row); None for no replay.

    Raises:
        ValueError: If there is no phase or an empty one, or a share is out of range.
    """

    def __init__(self, phases: Sequence[Rows], samples: int, seed: int, replay: Sequence[float] | None = None) -> None:
        if not phases or any(len(rows) == 0 for rows in phases):
            raise ValueError(f"phases must be at least one and none empty, got sizes {[len(p) for p in phases]}")
        own = [np.asarray(rows, dtype=np.int64) for rows in phases]
        shares = [0.0] * len(own) if replay is None else list(replay)
        self.phases = [
            np.concatenate([rows, replayed(own[:index], share, seed, index)])
            for index, (rows, share) in enumerate(zip(own, shares, strict=True))
        ]
        self.orders = [StackedOrder(len(rows), seed, (index,)) for index, rows in enumerate(self.phases)]
        self.ends = np.cumsum(_shares(samples, [len(rows) for rows in self.phases])).tolist()
        self.rows = sum(len(rows) for rows in self.phases)

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows at stream positions ``start`` to ``stop`` (exclusive)."""
        parts, begin = [], 0
        for index, (rows, order) in enumerate(zip(self.phases, self.orders, strict=True)):
            last = index == len(self.phases) - 1
            end = max(stop, self.ends[index]) if last else self.ends[index]
            low, high = max(start, begin), min(stop, end)
            if low < high:
                parts.append(rows[order.slice(low - begin, high - begin)])
            begin = self.ends[index]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def epoch(self, position: int) -> int:
        """Return how many passes over as many rows as the data has lie before ``position``."""
        return position // self.rows


def replayed(earlier: Sequence[Rows], share: float, seed: int, phase: int) -> Rows:
    """Return the rows of earlier phases that a phase trains again, int64, in increasing order of their place there.

    Args:
        earlier: Row numbers of the phases before it.
        share: How many, as a share of all of them; above 0 at least one.
        seed: Trial seed.
        phase: Index of the phase.

    Raises:
        ValueError: If the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"replay must be a share from 0 to 1, got {share}")
    pool = np.concatenate(earlier) if earlier else np.empty(0, dtype=np.int64)
    if share == 0 or len(pool) == 0:
        return pool[:0]
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0, phase, _REPLAY_SALT])))
    places = generator.permutation(len(pool))[: max(1, round(share * len(pool)))]
    return pool[np.sort(places)]


def make_order(data_strategy: str, data: Any, samples: int, seed: int) -> SampleOrder:
    """Build the order that ``data_strategy`` names (``stacked`` or ``phased``).

    Args:
        data_strategy: ``stacked`` mixes all rows; ``phased`` follows ``data.phases``.
        data: Anything with a length; for ``phased`` with ``phases``: one ``range`` or array of rows per phase,
            or a mapping from phase name to that; and with ``replay``, where a phase replays earlier ones: phase
            name -> share.
        samples: Budget in samples.
        seed: Trial seed.

    Raises:
        SpecError: If the strategy is unknown, or ``phased`` is asked of data without phases.
    """
    if data_strategy == "stacked":
        return StackedOrder(len(data), seed)
    if data_strategy != "phased":
        raise SpecError("trial", "data_strategy", data_strategy, "must be stacked or phased")
    phases = getattr(data, "phases", None)
    if not phases:
        raise SpecError("trial", "data_strategy", data_strategy, "needs data with phases", "name them in data.phases")
    members = phases.values() if hasattr(phases, "values") else phases
    shares = getattr(data, "replay", None) or {}
    replay = [shares.get(name, 0.0) for name in phases] if shares else None
    return PhasedOrder([np.asarray(rows, dtype=np.int64) for rows in members], samples, seed, replay)


def _shares(samples: int, sizes: Sequence[int]) -> list[int]:
    """Share ``samples`` out in proportion to ``sizes`` (largest remainder; ties go to the earlier phase)."""
    total = sum(sizes)
    shares = [samples * size // total for size in sizes]
    remainders = [-(samples * size % total) for size in sizes]
    for index in np.argsort(remainders, kind="stable")[: samples - sum(shares)]:
        shares[int(index)] += 1
    return shares


@lru_cache(maxsize=8)
def _permutation(rows: int, seed: int, epoch: int, salt: tuple[int, ...]) -> Rows:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, *salt])))
    permutation = generator.permutation(rows).astype(np.int64)
    permutation.setflags(write=False)
    return permutation
