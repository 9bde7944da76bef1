"""Small sweeps and arrivals for the rivals' tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from orchestrator.decisions.objective import Objective
from orchestrator.decisions.trials import TrialFacts
from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Scheduler
from orchestrator.simulation.engine.simulator import Clock, Replay, simulate
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial

METRIC = "eval/loss"
LOSS = Objective(METRIC)


def problem(trials: int, levels: tuple[int, ...], workers: int = 1, seed: int = 0, mode: str = "min") -> Problem:
    facts = tuple(TrialFacts(str(number), "c", "full", 1e-3, 8) for number in range(trials))
    return Problem(levels, Objective(METRIC, "max" if mode == "max" else "min"), facts, workers, seed)


def ask(scheduler: Scheduler, trial: int, level: int, value: float, completed: bool = False) -> Action:
    """Report one score and settle with no free worker."""
    action = scheduler.arrive(Arrival(str(trial), level, 0, {METRIC: value}, (), 0.0, completed))
    scheduler.settle(0, 0)
    return action


def recorded(
    name: str, curve: Sequence[float], levels: Sequence[int], batch: int = 1, diverged_at: int | None = None
) -> RecordedTrial:
    """Return a trial with one evaluation at the first whole step at or beyond each level, ``curve`` being its scores.

    Args:
        name: Trial id.
        curve: One score per level.
        levels: In samples, the last is the budget.
        batch: Samples of one optimizer step.
        diverged_at: Samples at which the trial ends without a result.
    """
    last = -(-levels[-1] // batch) * batch if diverged_at is None else diverged_at
    steps = np.arange(batch, last + 1, batch, dtype=float)
    signals = np.full((len(steps), 5), 1.0)
    signals[:, 0], signals[:, 4] = steps, math.nan
    evals: dict[int, dict[str, float]] = {}
    for level, value in zip(levels, curve, strict=True):
        samples = -(-level // batch) * batch
        if samples <= last:
            evals.setdefault(samples, {METRIC: value})
    return RecordedTrial(
        trial=name,
        config={"method": "full", "effective_batch_size": batch, "learning_rate": 1e-3, "seed": 0},
        cohort="c",
        signals=signals,
        evals=tuple(evals.items()),
        final={} if diverged_at else evals[max(evals)],
        samples=levels[-1],
        seconds=10.0,
        status="diverged" if diverged_at else "completed",
    )


def replay(sweep: RecordedSweep, scheduler: Scheduler, workers: int = 4, seed: int = 0, mode: str = "min") -> Replay:
    """Replay the trials in a random order that depends on the seed."""
    order = np.random.default_rng(seed).permutation([trial.trial for trial in sweep.trials])
    objective = Objective(METRIC, "max" if mode == "max" else "min")
    return simulate(sweep, scheduler, objective, Clock(workers, 0.1), [str(name) for name in order], seed)


def in_order(sweep: RecordedSweep, scheduler: Scheduler, workers: int) -> Replay:
    """Replay the trials in the order in which they are recorded."""
    order = [trial.trial for trial in sweep.trials]
    return simulate(sweep, scheduler, LOSS, Clock(workers), order, 0)
