"""F2: how early signals rank with final scores, beside the rules that need no signal at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from orchestrator.reporting.findings.analysis.early_signals import Signal, early
from orchestrator.reporting.findings.analysis.outcome import Effects
from orchestrator.reporting.findings.analysis.runs import Arm, Run, Runs
from orchestrator.reporting.findings.analysis.selection import final, near
from orchestrator.reporting.findings.registration.registration import Target, registration
from orchestrator.reporting.findings.statistics.estimates import Effect
from orchestrator.reporting.findings.statistics.pigeonhole import pigeonhole_effect
from orchestrator.reporting.findings.statistics.rank_correlation import Array, spearman

Axis = Literal["rates", "batches", "overall"]
Read = Callable[[Run], float]


class EarlyGrid:
    """The grid as matrices [configurations, seeds], cut along an axis into strata.

    Args:
        runs: With training signals.
        samples: Length of the early span.
    """

    def __init__(self, runs: Runs, samples: int) -> None:
        self.runs, self.samples = runs, samples
        self.seeds = runs.seeds("grid")

    def strata(self, axis: Axis) -> list[list[Arm]]:
        """Return the arms of each stratum: one batch (across rates), one rate (across batches), or all together."""
        arms = self.runs.arms("grid")
        if axis == "overall":
            return [arms]
        key: Callable[[Arm], float] = (lambda arm: arm.batch) if axis == "rates" else (lambda arm: arm.rate)
        return [[arm for arm in arms if key(arm) == value] for value in sorted({key(arm) for arm in arms})]

    def matrix(self, arms: Sequence[Arm], read: Read) -> Array:
        """Return what ``read`` says of each arm's runs, [arms, seeds]; NaN for a run that is missing."""
        found = [[self.runs.get(arm, seed) for seed in self.seeds] for arm in arms]
        return np.asarray([[math.nan if run is None else read(run) for run in row] for row in found], dtype=np.float64)

    def signal(self, signal: Signal) -> Read:
        """Return how a signal is read, turned so that more is what the paper calls better."""
        sign = 1.0 if signal == "loss" else -1.0
        return lambda run: (
            sign * early(self._measured(run) if signal == "corrected_norm" else run, signal, self.samples)
        )

    def own_score(self, target: Target) -> Read:
        """Return how a target's score is read at the milestone next to the early span's end."""
        return lambda run: near(run, target, self.samples)

    def correlation(self, axis: Axis, read: Read, target: Target) -> Effect:
        """Return the rank correlation of what ``read`` says with the final score."""
        return pigeonhole_effect(self._measured_strata(axis, target, read), spearman)

    def beyond(self, axis: Axis, read: Read, null: Read, target: Target) -> Effect:
        """Return the rank correlation of what ``read`` says minus that of a null rule, resampled together."""
        return pigeonhole_effect(
            self._measured_strata(axis, target, read, null),
            lambda one, other, end: spearman(one, end) - spearman(other, end),
        )

    def _measured_strata(self, axis: Axis, target: Target, *reads: Read) -> list[tuple[Array, ...]]:
        """Return what is read and the final scores, by stratum; strata in which something was not measured are left out."""
        columns = (*reads, lambda run: final(run, target))
        strata = [tuple(self.matrix(arms, read) for read in columns) for arms in self.strata(axis)]
        return [matrices for matrices in strata if not any(np.isnan(matrix).any() for matrix in matrices)]

    def _measured(self, run: Run) -> Run:
        """Return the run of the same configuration and seed whose steps show their gradient's noise."""
        twin = self.runs.get(replace(run.arm, design="noise"), run.seed)
        return run if twin is None else twin


def lowest_rate(run: Run) -> float:
    """Null rule: the lower the learning rate, the better."""
    return -run.arm.rate


def largest_batch(run: Run) -> float:
    """Null rule: the larger the batch, the better."""
    return float(run.arm.batch)


def both_nulls(run: Run) -> float:
    """Null rule: the lower the rate per sample of the batch, the better."""
    return run.arm.batch / run.arm.rate


def early_signals(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F2 at the registered early span."""
    whole = max(run.samples for run in runs.of("grid"))
    grid = EarlyGrid(runs, round(registration().early_share * whole))
    norm, loss, corrected = grid.signal("grad_norm"), grid.signal("loss"), grid.signal("corrected_norm")
    effects: dict[tuple[str, Target], Effect] = {}
    for target in targets:
        reads: Mapping[str, tuple[Axis, Read]] = {
            "grad_norm_across_rates": ("rates", norm),
            "loss_across_rates": ("rates", loss),
            "corrected_norm_across_rates": ("rates", corrected),
            "lowest_rate": ("rates", lowest_rate),
            "own_score_across_rates": ("rates", grid.own_score(target)),
            "grad_norm_across_batches": ("batches", norm),
            "loss_across_batches": ("batches", loss),
            "corrected_norm_across_batches": ("batches", corrected),
            "largest_batch": ("batches", largest_batch),
            "grad_norm_overall": ("overall", norm),
            "loss_overall": ("overall", loss),
            "both_nulls_overall": ("overall", both_nulls),
        }
        effects |= {(name, target): grid.correlation(axis, read, target) for name, (axis, read) in reads.items()}
        effects["grad_norm_beyond_null", target] = grid.beyond("rates", norm, lowest_rate, target)
        effects["loss_beyond_null", target] = grid.beyond("rates", loss, lowest_rate, target)
    return effects
