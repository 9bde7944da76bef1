"""One phase of the data after the other: all epochs of phase 1, then all epochs of phase 2, and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.errors import SpecError
from orchestrator.training.data.plans.stages import PlannedRows, Rows, Stage, shuffled

_REPLAY_SALT = 7


def phased(data: PlannedRows, samples: int, seed: int) -> list[Stage]:
    """Return a stage for each phase of the data.

    Raises:
        SpecError: If the data have no phases.
    """
    if not data.phases:
        raise SpecError("trial", "data_strategy", "phased", "needs data with phases", "name them in data.phases")
    replay = [data.replay.get(name, 0.0) for name in data.phases]
    return phase_stages([np.asarray(rows, dtype=np.int64) for rows in data.phases.values()], samples, seed, replay)


def phase_stages(phases: Sequence[Rows], samples: int, seed: int, replay: Sequence[float] | None = None) -> list[Stage]:
    """Return a stage for each phase.

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
    if not phases or any(len(rows) == 0 for rows in phases):
        raise ValueError(f"phases must be at least one and none empty, got sizes {[len(p) for p in phases]}")
    own = [np.asarray(rows, dtype=np.int64) for rows in phases]
    shares = [0.0] * len(own) if replay is None else list(replay)
    whole = [
        np.concatenate([rows, replayed(own[:index], share, seed, index)])
        for index, (rows, share) in enumerate(zip(own, shares, strict=True))
    ]
    budgets = _shares(samples, [len(rows) for rows in whole])
    return [
        Stage(rows, shuffled(len(rows), seed, (index,)), budget)
        for index, (rows, budget) in enumerate(zip(whole, budgets, strict=True))
    ]


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


def _shares(samples: int, sizes: Sequence[int]) -> list[int]:
    """Share ``samples`` out in proportion to ``sizes`` (largest remainder; ties go to the earlier phase)."""
    total = sum(sizes)
    shares = [samples * size // total for size in sizes]
    remainders = [-(samples * size % total) for size in sizes]
    for index in np.argsort(remainders, kind="stable")[: samples - sum(shares)]:
        shares[int(index)] += 1
    return shares
