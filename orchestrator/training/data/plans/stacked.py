"""All data at once."""

from __future__ import annotations

import numpy as np

from orchestrator.training.data.plans.stages import PlannedRows, Stage, shuffled


def stacked(data: PlannedRows, samples: int, seed: int) -> list[Stage]:
    """Return one stage: all rows, in a new order every epoch."""
    return [Stage(np.arange(len(data), dtype=np.int64), shuffled(len(data), seed), samples)]
