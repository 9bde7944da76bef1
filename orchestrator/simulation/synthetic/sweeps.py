"""Synthetic recorded sweeps of any size: learning curves that cross, stand still, diverge and repeat with known noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.simulation.recorded.sweep import SIGNAL_COLUMNS, RecordedSweep, RecordedTrial
from orchestrator.simulation.synthetic.curves import (
    Configurations,
    Floats,
    distances,
    draw_configurations,
    gradient_norms,
    losses,
    remaining,
)
from orchestrator.simulation.synthetic.settings import REFERENCE_BATCH, SyntheticSettings

LOSS, GENERAL = "eval/loss", "general/loss"
GRADIENT_JITTER = 0.1
"""Relative error of a measured gradient norm."""


def synthetic_sweep(trials: int, seed: int, kind: SyntheticSettings | None = None) -> RecordedSweep:
    """Make a recorded sweep.

    The metrics are ``eval/loss`` and ``general/loss``; the second rises as a trial travels away from the base model
    (forgetting). A trial's ``config`` also holds ``configuration``, which its repeats share. Where a trial has more
    optimizer steps than ``kind.signals``, only some of them are recorded.

    Args:
        trials: How many, at least 2.
        seed: The same seed and kind give the same sweep.
        kind: What the sweep is like; by default `SyntheticSettings()`.

    Raises:
        ValueError: If there are fewer than two trials.
    """
    if trials < 2:
        raise ValueError(f"a synthetic sweep needs at least two trials, got {trials}")
    settings = kind or SyntheticSettings()
    random = np.random.default_rng(seed)
    configurations = draw_configurations(-(-trials // settings.repeats), settings, random)
    of_trial = np.arange(trials) // settings.repeats
    made: dict[int, RecordedTrial] = {}
    for batch in sorted(set(configurations.batch.tolist())):
        places = np.flatnonzero(configurations.batch[of_trial] == batch)
        group = _group(places, configurations.take(of_trial[places]), int(batch), settings, random)
        made.update(_trials(group, settings))
    return RecordedSweep(f"synthetic-{seed}", tuple(made[place] for place in range(trials)))


@dataclass(frozen=True)
class _Group:
    """The trials of one batch size, which share their optimizer steps.

    ``places`` [trials]: positions in the sweep. ``steps`` and ``evaluated``: samples seen at the recorded optimizer
    steps and at the evaluations. ``signals`` [trials, steps, 5]; ``scores`` [trials, evaluations, 2 metrics].
    """

    places: NDArray[np.int64]
    configurations: Configurations
    steps: NDArray[np.int64]
    evaluated: NDArray[np.int64]
    signals: Floats
    scores: Floats


def recorded_steps(batch: int, settings: SyntheticSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return samples seen at the recorded optimizer steps, and at the evaluations, of trials of one batch size."""
    last = -(-settings.samples // batch)
    levels = np.maximum(1, np.round(np.array(settings.levels) * settings.samples)).astype(np.int64)
    judged = np.unique(-(-levels // batch))
    between = np.linspace(1, last, min(last, settings.signals) - min(last, len(judged)))
    steps = (
        np.arange(1, last + 1) if last <= settings.signals else np.union1d(np.round(between).astype(np.int64), judged)
    )
    return np.minimum(steps * batch, settings.samples), np.minimum(judged * batch, settings.samples)


def _group(
    places: NDArray[np.int64],
    group: Configurations,
    batch: int,
    settings: SyntheticSettings,
    random: np.random.Generator,
) -> _Group:
    steps, evaluated = recorded_steps(batch, settings)
    offsets = random.standard_normal((2, len(places), 1))  # of the two metrics, at the end of training
    signals = _signals(group, steps, offsets[0], settings, random)
    scores = np.stack(
        [
            _loss(group, evaluated / settings.samples, offsets[0], settings),
            _general(group, evaluated / settings.samples, offsets[1], settings),
        ],
        axis=-1,
    )
    scores += settings.evaluation_noise * random.standard_normal(scores.shape)
    return _Group(places, group, steps, evaluated, signals, scores)


def _loss(group: Configurations, shares: Floats, offsets: Floats, settings: SyntheticSettings) -> Floats:
    """Return the loss of each trial; repeats drift apart as the loss falls, to ``repeat_noise`` at the end."""
    won = 1 - remaining(group, shares, settings)
    whole = 1 - remaining(group, np.ones(1), settings)
    return losses(group, shares, settings) + settings.repeat_noise * offsets * won / whole


def _general(group: Configurations, shares: Floats, offsets: Floats, settings: SyntheticSettings) -> Floats:
    travelled = settings.general_loss + settings.forgetting * distances(group, shares)
    return travelled + settings.general_noise * offsets * np.sqrt(shares)


def _signals(
    group: Configurations,
    steps: NDArray[np.int64],
    offsets: Floats,
    settings: SyntheticSettings,
    random: np.random.Generator,
) -> Floats:
    shares = steps / settings.samples
    batch = int(group.batch[0])
    signals = np.empty((len(group.batch), len(steps), len(SIGNAL_COLUMNS)))
    shape = signals.shape[:2]
    loss = _loss(group, shares, offsets, settings)
    noise = settings.step_noise * np.sqrt(REFERENCE_BATCH / batch)
    own = gradient_norms(group, shares, settings)
    measured = np.sqrt(own**2 + settings.gradient_noise**2 / batch)
    signals[..., 0] = steps
    signals[..., 1] = loss + noise * random.standard_normal(shape)
    signals[..., 2] = measured * np.exp(GRADIENT_JITTER * random.standard_normal(shape))
    signals[..., 3] = group.learning_rate[:, None]
    signals[..., 4] = own * np.exp(GRADIENT_JITTER * random.standard_normal(shape))
    return signals


def _trials(group: _Group, settings: SyntheticSettings) -> Iterator[tuple[int, RecordedTrial]]:
    """Yield each trial with its position in the sweep."""
    methods, evaluated = list(settings.methods), group.evaluated.tolist()
    for row, place in enumerate(group.places.tolist()):
        ends_at = group.configurations.diverges[row] * settings.samples
        last = int(np.searchsorted(group.steps, ends_at))
        diverged = last < len(group.steps)
        signals = group.signals[row, : last + 1]
        if diverged:
            signals[-1, [1, 2, 4]] = np.nan
        evals = tuple(
            (samples, {LOSS: loss, GENERAL: general})
            for samples, (loss, general) in zip(evaluated, group.scores[row].tolist(), strict=True)
            if not diverged or samples < signals[-1, 0]
        )
        yield (
            place,
            RecordedTrial(
                trial=f"t{place:05d}",
                config={
                    "method": methods[group.configurations.method[row]],
                    "effective_batch_size": int(group.configurations.batch[row]),
                    "learning_rate": float(group.configurations.learning_rate[row]),
                    "seed": place % settings.repeats,
                    "samples": settings.samples,
                    "configuration": place // settings.repeats,
                },
                cohort="the sweep",
                signals=signals,
                evals=evals,
                final={} if diverged else dict(evals[-1][1]),
                samples=settings.samples,
                seconds=settings.seconds_per_sample * float(signals[-1, 0]),
                status="diverged" if diverged else "completed",
            ),
        )
