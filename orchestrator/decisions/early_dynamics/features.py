"""Early dynamics: features of the training signals up to a milestone, comparable at equal samples seen.

Every mean is weighted by the samples of a step, so that a trial with an effective batch of 8 and one of 512
that saw the same loss per sample get the same feature. Everything comes from the past alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from orchestrator.records import TrainingSignal

Array = npt.NDArray[np.float64]

SPIKE_DEVIATIONS = 4.0
SPIKE_FLOOR_SHARE = 0.01
SPIKE_NORM_FACTOR = 4.0
SPIKE_WARM_UP_STEPS = 8


@dataclass(frozen=True, slots=True)
class EarlyDynamics:
    """Features of one trial at one milestone. Losses in nats per token; window = last ``window_samples`` samples.

    Attributes:
        samples_seen: Samples up to the last signal.
        steps: Optimizer steps up to the last signal.
        window_samples: Length of the window asked for.
        covered_samples: Samples of the window that signals cover.
        loss_start: Mean loss over the first samples.
        loss_ema: Debiased exponential mean of the loss.
        loss_mean: Mean loss over the window.
        loss_slope: Least-squares slope of the loss over the window, nats per sample; None below two steps.
        loss_relative: Window mean over ``loss_start`` (below 1 = learned); NaN when the start is not positive.
        grad_norm_mean: Mean gradient norm before clipping over the window.
        noise_corrected_grad_norm: Root of the window mean of the squared noise-corrected norm; None when
            less than half of the window has it.
        loss_spikes: Steps so far whose loss lay more than 4 mean deviations, and 1 %, above the
            running mean.
        grad_norm_spikes: Steps so far whose norm was more than 4 times the running mean.
    """

    samples_seen: int
    steps: int
    window_samples: int
    covered_samples: float
    loss_start: float
    loss_ema: float
    loss_mean: float
    loss_slope: float | None
    loss_relative: float
    grad_norm_mean: float
    noise_corrected_grad_norm: float | None
    loss_spikes: int
    grad_norm_spikes: int

    def as_dict(self) -> dict[str, float | None]:
        """Return a JSON-able dictionary (NaN may occur)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EarlyDynamics:
        """Rebuild from `as_dict`; keys that are no feature are ignored."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


class DebiasedMean:
    """Exponential mean with a half-life in samples, divided by the sum of its weights.

    A constant in gives the same constant out at every length: num and den shrink alike
    (Kingma & Ba 2015, section 3, for steps of unequal weight).
    """

    __slots__ = ("_den", "_num", "half_life")

    def __init__(self, half_life: float, num: float = 0.0, den: float = 0.0) -> None:
        if not half_life > 0:
            raise ValueError(f"a half-life must be above 0 samples, got {half_life}")
        self.half_life, self._num, self._den = half_life, num, den

    def update(self, value: float, weight: float) -> None:
        """Take in ``value`` that stands for ``weight`` samples."""
        decay = 0.5 ** (weight / self.half_life)
        self._num = decay * self._num + (1 - decay) * value
        self._den = decay * self._den + (1 - decay)

    @property
    def value(self) -> float:
        """The mean so far; NaN before the first value."""
        return self._num / self._den if self._den > 0 else math.nan

    def state(self) -> list[float]:
        """Return [num, den]."""
        return [self._num, self._den]


class TrackerState(TypedDict):
    """The running state of a `DynamicsTracker`, JSON-able: pairs are sums with their weights, or counts."""

    window_samples: int
    samples_seen: int
    steps: int
    start: list[float]
    loss: list[float]
    norm: list[float]
    deviation: list[float]
    spikes: list[int]


class DynamicsTracker:
    """Folds training signals into `EarlyDynamics`, milestone by milestone.

    The window is rebuilt from the signals since the last `end_segment`, so what must survive a restart is
    a dozen numbers (`state_dict`). Choose ``window_samples`` no longer than the shortest distance between
    milestones.

    Args:
        window_samples: Length of the window.

    Raises:
        ValueError: If the window is not positive.
    """

    def __init__(self, window_samples: int) -> None:
        if window_samples <= 0:
            raise ValueError(f"window_samples must be above 0, got {window_samples}")
        self.window_samples = window_samples
        half_life = window_samples / 4
        self._loss, self._norm, self._deviation = (DebiasedMean(half_life) for _ in range(3))
        self._samples_seen, self._steps = 0, 0
        self._start_sum, self._start_weight = 0.0, 0.0
        self._loss_spikes, self._norm_spikes = 0, 0
        self._rows: list[tuple[float, float, float, float, float]] = []

    @property
    def samples_seen(self) -> int:
        """Samples up to the last signal, 0 before the first."""
        return self._samples_seen

    def update(self, signals: Iterable[TrainingSignal]) -> None:
        """Take in signals in order of samples seen; those already seen are skipped."""
        for signal in signals:
            weight = signal.samples_seen - self._samples_seen
            if weight <= 0:
                continue
            self._note_start(signal.loss, weight)
            self._note_spikes(signal)
            self._loss.update(signal.loss, weight)
            self._norm.update(signal.grad_norm, weight)
            corrected = signal.noise_corrected_grad_norm
            self._rows.append(
                (
                    signal.samples_seen,
                    weight,
                    signal.loss,
                    signal.grad_norm,
                    math.nan if corrected is None else corrected,
                )
            )
            self._samples_seen, self._steps = signal.samples_seen, self._steps + 1

    def snapshot(self) -> EarlyDynamics:
        """Return the features now.

        Raises:
            ValueError: If there has been no signal since the last `end_segment`.
        """
        if not self._rows:
            raise ValueError("early dynamics need at least one training signal since the last milestone, got none")
        table = np.asarray(self._rows, dtype=np.float64)
        ends, sizes, losses, norms, corrected = table.T
        with np.errstate(invalid="ignore", over="ignore"):  # a diverged trial's signals may be infinite
            return self._features(ends, sizes, losses, norms, corrected)

    def _features(self, ends: Array, sizes: Array, losses: Array, norms: Array, corrected: Array) -> EarlyDynamics:
        first = self._samples_seen - self.window_samples
        weights = np.clip(ends - np.maximum(ends - sizes, first), 0.0, None)
        inside = weights > 0
        weights, middles = weights[inside], (ends - weights / 2)[inside]
        losses, norms, corrected = losses[inside], norms[inside], corrected[inside]
        loss_mean = float(np.average(losses, weights=weights))
        start = self._start_sum / self._start_weight
        return EarlyDynamics(
            samples_seen=self._samples_seen,
            steps=self._steps,
            window_samples=self.window_samples,
            covered_samples=float(weights.sum()),
            loss_start=start,
            loss_ema=self._loss.value,
            loss_mean=loss_mean,
            loss_slope=_slope(middles, losses, weights),
            loss_relative=loss_mean / start if start > 0 else math.nan,
            grad_norm_mean=float(np.average(norms, weights=weights)),
            noise_corrected_grad_norm=_root_mean_square(corrected, weights),
            loss_spikes=self._loss_spikes,
            grad_norm_spikes=self._norm_spikes,
        )

    def end_segment(self) -> None:
        """Forget the rows of the window; running means and counts stay."""
        self._rows.clear()

    def state_dict(self) -> TrackerState:
        """Return the running state without the window's rows, JSON-able."""
        return {
            "window_samples": self.window_samples,
            "samples_seen": self._samples_seen,
            "steps": self._steps,
            "start": [self._start_sum, self._start_weight],
            "loss": self._loss.state(),
            "norm": self._norm.state(),
            "deviation": self._deviation.state(),
            "spikes": [self._loss_spikes, self._norm_spikes],
        }

    @classmethod
    def from_state(cls, state: TrackerState) -> DynamicsTracker:
        """Rebuild from `state_dict`, as after `end_segment`."""
        tracker = cls(state["window_samples"])
        half_life = tracker.window_samples / 4
        tracker._samples_seen, tracker._steps = state["samples_seen"], state["steps"]
        tracker._start_sum, tracker._start_weight = state["start"]
        tracker._loss = DebiasedMean(half_life, *state["loss"])
        tracker._norm = DebiasedMean(half_life, *state["norm"])
        tracker._deviation = DebiasedMean(half_life, *state["deviation"])
        tracker._loss_spikes, tracker._norm_spikes = state["spikes"]
        return tracker

    def _note_start(self, loss: float, weight: float) -> None:
        # The first step is always part of the start; later ones only while they lie inside the first
        # quarter window, cut at its end so that batch sizes see the same samples as far as possible.
        room = self.window_samples / 4 - self._samples_seen
        part = weight if self._steps == 0 else min(weight, room)
        if part > 0:
            self._start_sum += part * loss
            self._start_weight += part

    def _note_spikes(self, signal: TrainingSignal) -> None:
        weight = signal.samples_seen - self._samples_seen
        excess = signal.loss - self._loss.value
        if self._steps >= SPIKE_WARM_UP_STEPS:
            # The floor keeps rounding from counting as a spike where the loss is flat.
            floor = SPIKE_FLOOR_SHARE * abs(self._loss.value)
            self._loss_spikes += excess > max(SPIKE_DEVIATIONS * self._deviation.value, floor)
            self._norm_spikes += signal.grad_norm > SPIKE_NORM_FACTOR * self._norm.value
        if self._steps > 0:
            self._deviation.update(abs(excess), weight)


def extract(signals: Sequence[TrainingSignal], up_to_samples: int, window_samples: int) -> EarlyDynamics:
    """Return the features of ``signals`` up to and including ``up_to_samples``.

    Args:
        signals: All signals of a trial, in order.
        up_to_samples: Later signals are not looked at.
        window_samples: Length of the window before the last used signal.

    Raises:
        ValueError: If no signal lies at or before ``up_to_samples``, or the window is not positive.
    """
    tracker = DynamicsTracker(window_samples)
    tracker.update(signal for signal in signals if signal.samples_seen <= up_to_samples)
    return tracker.snapshot()


def _slope(positions: Array, values: Array, weights: Array) -> float | None:
    if len(positions) < 2:
        return None
    centred = positions - np.average(positions, weights=weights)
    spread = float(np.sum(weights * centred**2))
    return float(np.sum(weights * centred * values)) / spread if spread > 0 else None


def _root_mean_square(values: Array, weights: Array) -> float | None:
    known = np.isfinite(values)
    if weights[known].sum() * 2 < weights.sum() or not known.any():
        return None
    return float(np.sqrt(np.average(values[known] ** 2, weights=weights[known])))
