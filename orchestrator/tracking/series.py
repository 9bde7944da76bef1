"""Training signals become metric series: chosen keys, own timestamps, thinned when long. Pure.

A thinned series keeps the lowest and the highest point of each bin of samples (with their own steps),
so that a spike of one optimizer step survives. Thinning looks at one call's signals only: the same
call gives the same rows, whatever came before, which is what makes redelivery exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from orchestrator.records import TrainingSignal

POINTS_LIMIT = 400
"""Points per key and trial; a series of at most that many optimizer steps is kept whole.

About what a chart shows; each row costs the driver 0.15 ms. The workers' reports keep every signal."""

COARSE_POINTS_LIMIT = 100
"""The same for keys whose shape few points tell."""

_COARSE = {"train/learning_rate", "train/tokens_per_second"}

BINS_PER_POINT = 0.35
"""Two points per bin, plus at most three per call (a bin cut by its border, and the last point)."""

Series = tuple[list[int], list[int], list[float]]
"""Steps (samples seen), timestamps in milliseconds, values; of equal length."""


def signal_series(
    signals: Sequence[TrainingSignal], now_ms: int, total_samples: int, effective_batch_size: int
) -> dict[str, Series]:
    """Turn training signals into series by metric key.

    Args:
        signals: In order of samples seen; the last one happened at ``now_ms``.
        now_ms: Wall clock in milliseconds; earlier signals are dated back by their elapsed seconds.
        total_samples: Training budget of the trial in samples.
        effective_batch_size: Samples per optimizer step.
    """
    if not signals:
        return {}
    end = signals[-1].elapsed_seconds
    times = [max(0, now_ms - round(1000 * (end - signal.elapsed_seconds))) for signal in signals]
    steps = [signal.samples_seen for signal in signals]
    return {
        key: _thin(steps, times, values, bin_width(total_samples, effective_batch_size, points_limit(key)))
        for key, values in _columns(signals).items()
        if any(value is not None for value in values)
    }


def _columns(signals: Sequence[TrainingSignal]) -> Mapping[str, list[float | None]]:
    columns: dict[str, list[float | None]] = {
        "train/loss": [signal.loss for signal in signals],
        "train/grad_norm": [signal.grad_norm for signal in signals],
        "train/learning_rate": [signal.learning_rate for signal in signals],
        "train/tokens_per_second": [signal.tokens_per_second for signal in signals],
        "train/noise_scale": [signal.noise_scale for signal in signals],
    }
    if any(signal.total_loss != signal.loss and not math.isnan(signal.total_loss) for signal in signals):
        columns["train/total_loss"] = [signal.total_loss for signal in signals]
    return columns


def points_limit(key: str) -> int:
    """Return how many points of a key are kept per trial."""
    return COARSE_POINTS_LIMIT if key in _COARSE else POINTS_LIMIT


def bin_width(total_samples: int, effective_batch_size: int, limit: int) -> float:
    """Return the width of a bin in samples; 0 means that every point is kept."""
    optimizer_steps = math.ceil(total_samples / max(1, effective_batch_size))
    return 0.0 if optimizer_steps <= limit else total_samples / (BINS_PER_POINT * limit)


def _thin(steps: Sequence[int], times: Sequence[int], values: Sequence[float | None], width: float) -> Series:
    present = [index for index, value in enumerate(values) if value is not None]
    numbers = [math.nan if value is None else plain(value) for value in values]
    if width > 0:
        present = _extremes(present, steps, numbers, width)
    return [steps[i] for i in present], [times[i] for i in present], [numbers[i] for i in present]


def _extremes(present: Sequence[int], steps: Sequence[int], numbers: Sequence[float], width: float) -> list[int]:
    """Indices of each bin's lowest and highest number (NaN counts as highest), and of the last."""
    ranks = [math.inf if math.isnan(value) else value for value in numbers]
    lowest: dict[int, int] = {}
    highest: dict[int, int] = {}
    for index in present:
        place = int(steps[index] / width)
        if place not in lowest or ranks[index] < ranks[lowest[place]]:
            lowest[place] = index
        if place not in highest or ranks[index] > ranks[highest[place]]:
            highest[place] = index
    return sorted({*lowest.values(), *highest.values(), *present[-1:]})


def plain(value: float) -> float:
    """Write infinities as NaN: MLflow would store 1.8e308, which ruins the scale of a chart."""
    number = float(value)
    return number if math.isfinite(number) else math.nan
