"""Whether a rerun gave the same: signal by signal, metric by metric, weight by weight. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.records import TrainingSignal
from orchestrator.results.records import MilestoneResult

Sameness = Literal["identical", "within rounding", "within error", "different", "unknown"]
_ORDER: tuple[Sameness, ...] = ("identical", "within rounding", "within error", "different")

ROUNDING = 1e-3
"""Relative difference that another order of additions (other threads, kernels, micro-batches) explains."""

ERRORS = 2.0
"""Standard errors within which a score is not told apart from the first."""


@dataclass(frozen=True)
class MetricSameness:
    """One score at one milestone, before and now."""

    metric: str
    samples_seen: int
    before: float
    now: float | None
    standard_error: float | None
    verdict: Sameness


@dataclass(frozen=True)
class SignalSameness:
    """The training signals, step by step.

    Args:
        steps: Optimizer steps that were compared.
        first_difference: First step whose loss or gradient norm is not bit for bit the same; None without any.
        loss: Largest relative difference of the loss.
        grad_norm: Largest relative difference of the gradient norm.
        verdict: Of all steps together; ``unknown`` where the signals of the sweep are gone.
    """

    steps: int
    first_difference: int | None
    loss: float
    grad_norm: float
    verdict: Sameness


def compare_scores(
    before: MilestoneResult, now: Mapping[str, float], rounding: float = ROUNDING
) -> list[MetricSameness]:
    """Compare every score of a milestone."""
    found = []
    for metric, value in before.scores.items():
        error = before.standard_errors.get(metric)
        new = now.get(metric)
        found.append(MetricSameness(metric, before.samples_seen, value, new, error, judge(value, new, error, rounding)))
    return found


def judge(before: float, now: float | None, standard_error: float | None, rounding: float = ROUNDING) -> Sameness:
    """Say how close a score is to what it was."""
    if now is None:
        return "different"
    if before == now or (math.isnan(before) and math.isnan(now)):
        return "identical"
    if relative(before, now) <= rounding:
        return "within rounding"
    if standard_error is not None and abs(before - now) <= ERRORS * standard_error:
        return "within error"
    return "different"


def compare_signals(
    before: Sequence[TrainingSignal], now: Sequence[TrainingSignal], rounding: float = ROUNDING
) -> SignalSameness:
    """Compare loss and gradient norm of every optimizer step that both have."""
    pairs = [(a, b) for a, b in zip(before, now, strict=False) if a.step == b.step]
    if not pairs:
        return SignalSameness(0, None, 0.0, 0.0, "unknown")
    first = next((a.step for a, b in pairs if not _same(a.loss, b.loss) or not _same(a.grad_norm, b.grad_norm)), None)
    loss = max(relative(a.loss, b.loss) for a, b in pairs)
    grad_norm = max(relative(a.grad_norm, b.grad_norm) for a, b in pairs)
    verdict: Sameness = (
        "identical" if first is None else "within rounding" if max(loss, grad_norm) <= rounding else "different"
    )
    return SignalSameness(len(pairs), first, loss, grad_norm, verdict)


def overall(scores: Iterable[Sameness], signals: Sameness) -> Sameness:
    """Return the verdict on a trial: its scores decide, and only if its steps agree too is it identical."""
    worst = max(scores, key=_ORDER.index, default="identical" if signals == "identical" else "different")
    return "within rounding" if worst == "identical" and signals not in ("identical", "unknown") else worst


def relative(before: float, now: float) -> float:
    """Return the difference of two numbers relative to the larger; 0 for two that are not numbers."""
    if _same(before, now):
        return 0.0
    scale = max(abs(before), abs(now))
    return math.inf if not math.isfinite(scale) else abs(before - now) / scale


def _same(before: float, now: float) -> bool:
    return before == now or (math.isnan(before) and math.isnan(now))
