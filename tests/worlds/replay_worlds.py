"""Small recorded sweeps whose every number is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.decisions.objective import Objective
from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Verdicts
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial

LOSS = Objective("eval/loss")
LEVELS = (16, 32, 64)
BUDGET = 64


def trial(
    name: str,
    scores: Sequence[float],
    *,
    batch: int = 8,
    levels: Sequence[int] = LEVELS,
    losses: Sequence[float] | None = None,
    norms: Sequence[float] | None = None,
    diverges_at: int | None = None,
    seconds: float = 64.0,
    **config: Any,
) -> RecordedTrial:
    """Return a trial that scores ``scores`` at the levels; ``diverges_at`` samples it ends with a loss of NaN."""
    budget = levels[-1]
    ends = np.minimum(np.arange(1, -(-budget // batch) + 1) * batch, budget)
    if diverges_at is not None:
        ends = ends[ends <= diverges_at]
    signals = np.full((len(ends), 5), np.nan)
    signals[:, 0], signals[:, 1], signals[:, 2], signals[:, 3] = ends, 2.0, 1.0, 1e-3
    if losses is not None:
        signals[:, 1] = losses
    if norms is not None:
        signals[:, 2] = norms
    if diverges_at is not None:
        signals[-1, 1] = np.nan
    last = int(ends[-1])
    places = [int(ends[np.searchsorted(ends, level)]) for level in levels if level <= last]
    evals = [(place, {"eval/loss": score}) for place, score in zip(places, scores, strict=False)]
    evals = evals if diverges_at is None else [entry for entry in evals if entry[0] < last]
    values = {"method": "full", "effective_batch_size": batch, "learning_rate": 1e-3, "seed": 0, **config}
    return RecordedTrial(
        name,
        values,
        "all",
        signals,
        tuple(evals),
        {} if diverges_at else dict(evals[-1][1]),
        budget,
        seconds * last / budget,
        "diverged" if diverges_at else "completed",
    )


def sweep(trials: Mapping[str, Sequence[float]], name: str = "small", **more: Any) -> RecordedSweep:
    """Return a sweep of trials that differ in their scores alone."""
    return RecordedSweep(name, tuple(trial(key, scores, **more) for key, scores in trials.items()))


def falling(count: int, **more: Any) -> RecordedSweep:
    """Return ``count`` trials, the first the best at every level; each has a learning rate of its own."""
    made = [
        trial(f"t{n}", [3 + n / 10, 2 + n / 10, 1 + n / 10], learning_rate=1e-3 * (n + 1), **more) for n in range(count)
    ]
    return RecordedSweep("falling", tuple(made))


def names(sweep_: RecordedSweep) -> list[str]:
    """Return the trial ids in the sweep's order."""
    return [each.trial for each in sweep_.trials]


class Scripted:
    """Answers as it is told, and writes down what it hears."""

    name = "scripted"

    def __init__(self, answers: Mapping[tuple[str, int], Action] | None = None) -> None:
        self.answers = answers or {}
        self.heard: list[Arrival] = []
        self.asked: list[tuple[int, int]] = []
        self.verdicts: list[list[tuple[str, Action]]] = []

    def begin(self, problem: Problem) -> None:
        self.problem = problem

    def arrive(self, arrival: Arrival) -> Action:
        self.heard.append(arrival)
        return self.answers.get((arrival.trial_id, arrival.level_index), Action.CONTINUE)

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        self.asked.append((idle_workers, waiting))
        return self.verdicts.pop(0) if self.verdicts and self.heard else []

    def winner(self) -> str | None:
        return None
