"""The order in which a trial sees its samples: a function of the seed and the epoch alone.

An order is an endless-looking stream of row numbers of which a trial reads slices: optimizer step ``k``
takes positions ``k * B`` to ``(k + 1) * B``, across epoch borders. The effective batch size ``B`` never
enters, so trials with other batch sizes see the same samples in the same order, and the position in the
stream (samples seen) is all that must be saved to resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import cast

import numpy as np

from orchestrator.lazy_names import load
from orchestrator.spec.trial.data_strategies import find_data_strategy
from orchestrator.training.data.plans.stages import DataPlan, PlannedRows, Rows, Stage


class SampleOrder:
    """A stream of row numbers: one stage after the other, each for its part of the budget.

    Args:
        stages: In the order of training.

    Raises:
        ValueError: If there is no stage, or one without rows.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages or any(len(stage.rows) == 0 for stage in stages):
            raise ValueError(f"stages must be at least one and none empty, got sizes {[len(s.rows) for s in stages]}")
        self.stages = tuple(stages)
        self.ends = list(accumulate(stage.samples for stage in stages))
        self.rows = sum(len(stage.rows) for stage in stages)

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows at stream positions ``start`` to ``stop`` (exclusive), int64 ``[stop - start]``."""
        parts: list[Rows] = []
        begin = 0
        for index, stage in enumerate(self.stages):
            end = max(stop, self.ends[index]) if index == len(self.stages) - 1 else self.ends[index]
            low, high = max(start, begin), min(stop, end)
            if low < high:
                parts += _slices(stage, low - begin, high - begin)
            begin = self.ends[index]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def epoch(self, position: int) -> int:
        """Return how many passes over as many rows as the data has lie before ``position``."""
        return position // self.rows


def _slices(stage: Stage, start: int, stop: int) -> Iterator[Rows]:
    """Yield the rows at positions of a stage's own stream, epoch by epoch."""
    while start < stop:
        epoch, offset = divmod(start, len(stage.rows))
        end = min(offset + stop - start, len(stage.rows))
        yield stage.rows[stage.order(epoch)[offset:end]]
        start += end - offset


def make_order(data_strategy: str, data: PlannedRows, samples: int, seed: int) -> SampleOrder:
    """Build the order that a data strategy gives.

    Args:
        data_strategy: Name in `orchestrator.spec.trial.data_strategies.DATA_STRATEGIES`.
        data: The training rows.
        samples: Budget in samples.
        seed: Trial seed.

    Raises:
        SpecError: If the strategy is unknown, or the data do not have what it needs.
    """
    plan = find_data_strategy(data_strategy).plan
    laid_out = cast(DataPlan, load(plan))
    return SampleOrder(laid_out(data, samples, seed))
