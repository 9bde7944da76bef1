"""A data strategy lays a trial's data out as an ordered list of stages; a stage says which rows come, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
PhaseRows = range | Rows
"""Row numbers of one phase."""


class PlannedRows(Protocol):
    """Training rows as a data strategy sees them."""

    @property
    def phases(self) -> Mapping[str, PhaseRows]:
        """Name -> row numbers of each named part, in training order; empty when there are none."""
        ...

    @property
    def replay(self) -> Mapping[str, float]:
        """Phase name -> share of the earlier phases' rows that it trains again; empty when none does."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Stage:
    """A part of a trial's training.

    Attributes:
        rows: Row numbers of an epoch of this stage, at least one.
        order: Epoch (from 0) -> places in ``rows`` in the order of training, int64 ``[rows]``; always the same ones for the
            same epoch, for they are asked for again and again.
        samples: How much of the trial's budget it trains; the last stage goes on past its own.
    """

    rows: Rows
    order: Callable[[int], Rows]
    samples: int


class DataPlan(Protocol):
    """A data strategy: lays a trial's data out."""

    def __call__(self, data: PlannedRows, samples: int, seed: int) -> Sequence[Stage]:
        """Return the stages in the order of training, at least one.

        Args:
            data: The training rows.
            samples: The trial's budget in samples.
            seed: The trial's seed: all chance comes from it, so that trials of one seed see the same data.

        Raises:
            SpecError: If the data do not have what the strategy needs.
        """
        ...


def shuffled(rows: int, seed: int, salt: tuple[int, ...] = ()) -> Callable[[int], Rows]:
    """Return a stage's order that permutes its rows, each epoch anew.

    Args:
        rows: Number of rows.
        seed: Trial seed; epoch ``e`` is permuted by a Philox generator seeded with ``[seed, e, *salt]``.
        salt: Further seed words, such as the index of the stage.
    """
    return lambda epoch: _permutation(rows, seed, epoch, salt)


@lru_cache(maxsize=8)
def _permutation(rows: int, seed: int, epoch: int, salt: tuple[int, ...]) -> Rows:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, *salt])))
    permutation = generator.permutation(rows).astype(np.int64)
    permutation.setflags(write=False)
    return permutation
