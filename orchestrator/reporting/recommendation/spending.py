"""How a budget is spent: trials of the search, samples of each, and repeats of the best."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.errors import InputError
from orchestrator.reporting.recommendation.published import LEAST_STEPS, TRAINING_HUB
from orchestrator.reporting.recommendation.request import Request

EPOCHS = ((1_000, 3.0), (10_000, 2.0))
"""Passes over data of fewer rows; one over more."""

MOST_TRIALS, FEW_TRIALS, LEAST_TRIALS = 64, 8, 2
REPEATS = ((24, 3), (12, 2))
"""From so many trials on, each of the two best recipes gets so many new seeds."""

CANDIDATES = 2
LEAST_SAMPLES = 4 * LEAST_STEPS
"""A trial of fewer samples leaves `LEAST_STEPS` optimizer steps at a batch of four at most."""

TRAINED_SHARE = 0.6
"""Share of a budget in minutes that trains; evaluations, starts and a rough estimate take the rest (an assumption)."""


@dataclass(frozen=True)
class Spending:
    """Trials of the search, samples of a trial, new seeds for each of `CANDIDATES` recipes (0: none), and why."""

    trials: int
    samples: int
    repeats: int
    reason: str
    source: str

    @property
    def most_samples(self) -> int:
        """Samples that are trained where nothing is stopped."""
        return (self.trials + self.repeats * CANDIDATES) * self.samples


def spend(request: Request) -> Spending:
    """Split a budget; nothing that is planned goes beyond it, even where no trial is stopped.

    Raises:
        InputError: If the budget holds fewer than two trials of a useful length.
    """
    whole, why = _whole_length(request)
    if request.budget.unit == "trials":
        runs = int(request.budget.amount)
        samples = whole
    else:
        total = _total_samples(request)
        samples = request.samples or min(whole, max(LEAST_SAMPLES, int(total // FEW_TRIALS)))
        runs = min(MOST_TRIALS, int(total // samples))
        if samples < whole:
            why = f"shorter than {why}, so that the budget holds at least {FEW_TRIALS} trials"
    if runs < LEAST_TRIALS:
        raise InputError(
            "--budget",
            value=request.budget.label,
            rule=f"holds {runs} trial{'s' * (runs != 1)} of {samples:,} samples, and a search needs at least {LEAST_TRIALS}",
            mend="raise the budget, or give shorter trials with --samples",
        )
    if samples < LEAST_SAMPLES:
        raise _too_short(request, samples, why)
    repeats = next((count for least, count in REPEATS if runs >= least), 0)
    kept = f", {repeats * CANDIDATES} of them kept for repeats" if repeats else ""
    held = "" if request.budget.unit == "trials" else f"{request.budget.label} hold "
    reason = f"{held}{runs} trials{kept}, of {samples:,} samples each ({why})"
    return Spending(runs - repeats * CANDIDATES, samples, repeats, reason, TRAINING_HUB)


def _too_short(request: Request, samples: int, why: str) -> InputError:
    needed = f"a trial needs at least {LEAST_SAMPLES}, {LEAST_STEPS} optimizer steps of 4"
    if request.samples is not None:
        return InputError("--samples", value=samples, rule=needed, mend="give longer trials")
    source = request.own_data.get("train")
    return InputError(
        "--data",
        value=source,
        rule=f"its {request.data.rows:,} rows make trials of {samples:,} samples ({why}), and {needed}",
        mend="give more data, or longer trials with --samples",
    )


def _whole_length(request: Request) -> tuple[int, str]:
    if request.samples is not None:
        return request.samples, "as asked"
    rows = request.data.rows
    epochs = next((passes for limit, passes in EPOCHS if rows < limit), 1.0)
    return math.ceil(rows * epochs), f"{epochs:g} {'pass' if epochs == 1 else 'passes'} over {rows:,} rows"


def _total_samples(request: Request) -> float:
    if request.budget.unit == "samples":
        return request.budget.amount
    assert request.samples_per_minute is not None
    return request.budget.amount * request.samples_per_minute * TRAINED_SHARE
