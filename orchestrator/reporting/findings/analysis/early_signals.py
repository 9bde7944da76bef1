"""What a run says early: the mean of a training signal over the second half of the early span."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from orchestrator.records import TrainingSignal
from orchestrator.reporting.findings.analysis.runs import Run

Signal = Literal["grad_norm", "loss", "corrected_norm"]

_READ: Mapping[Signal, Callable[[TrainingSignal], float | None]] = {
    "grad_norm": lambda signal: signal.grad_norm,
    "loss": lambda signal: signal.loss,
    "corrected_norm": lambda signal: signal.noise_corrected_grad_norm,
}


def early(run: Run, signal: Signal, samples: int) -> float:
    """Return the mean of a signal over the steps that end in the second half of the first ``samples`` samples.

    The second half, because the first steps see the untouched base and are the same in all runs. Where a batch is so
    large that no step ends there, the last step that ends before counts. NaN where the run does not have the signal.
    """
    values = [
        (entry.samples_seen, value)
        for entry in run.signals
        if entry.samples_seen <= samples and (value := _READ[signal](entry)) is not None
    ]
    late = [value for seen, value in values if seen > samples / 2] or [value for _, value in values[-1:]]
    return sum(late) / len(late) if late else math.nan
