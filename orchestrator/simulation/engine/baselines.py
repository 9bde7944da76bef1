"""Plain stopping rules to beat: none, random, top-K after a share of the budget, halving by one signal, and nulls.

Each is small and knows no cohorts: it compares all trials of the sweep. Where a rule has no opinion on the winner,
the simulator takes the best of the trials that went farthest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.decisions.trials import TrialFacts
from orchestrator.records import Action
from orchestrator.simulation.engine.ranking import Observed, Ranking
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Verdicts

Rungs = Callable[[Sequence[int]], Mapping[int, Callable[[int], int]]]
"""From the levels to the judged ones: level index -> (trials that arrived there -> trials that go on)."""


class NoStopping:
    """Trains every trial to its end."""

    name = "no-stopping"

    def begin(self, problem: Problem) -> None:
        """Nothing to prepare."""

    def arrive(self, arrival: Arrival) -> Action:
        """Go on."""
        return Action.CONTINUE

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Nothing pauses."""
        return ()

    def winner(self) -> str | None:
        """The best of all."""
        return None


class KeepTop(NoStopping):
    """Synchronous rungs: a rung waits until every living trial has come, then the best few go on and the others stop.

    Args:
        name: How it is shown.
        rungs: Where trials are judged, and how many go on.
        ranking: Orders the trials of a rung.
    """

    def __init__(self, name: str, rungs: Rungs, ranking: Ranking) -> None:
        self.name, self._rungs, self._ranking = name, rungs, ranking

    def begin(self, problem: Problem) -> None:
        """Take a new sweep."""
        self._problem, self._random = problem, np.random.default_rng(problem.seed)
        self._places = dict(self._rungs(problem.levels))
        self._seen = {facts.trial_id: Observed(facts) for facts in problem.trials}
        self._training = set(self._seen)
        self._waiting: dict[str, None] = {}

    def arrive(self, arrival: Arrival) -> Action:
        """Pause at a rung."""
        trial_id = arrival.trial_id
        self._seen[trial_id].take(arrival)
        if arrival.completed or arrival.diverged:
            self._training.discard(trial_id)
            return Action.STOP
        if arrival.level_index not in self._places:
            return Action.CONTINUE
        self._training.discard(trial_id)
        self._waiting[trial_id] = None
        return Action.PAUSE

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Judge the rung once nobody trains towards it any more."""
        if self._training or not self._waiting:
            return ()
        rung = [self._seen[trial_id] for trial_id in self._waiting]
        # Diverged trials have arrived too: they count in the size of the rung and rank last, as in the engine.
        level = max(trial.level_index for trial in rung)
        size = len(rung) + sum(trial.diverged and trial.level_index == level for trial in self._seen.values())
        places = self._places[level](size)
        ranked = [trial.facts.trial_id for trial in self._ranking(rung, self._problem.objective, self._random)]
        self._waiting, self._training = {}, set(ranked[:places])
        going = [(trial_id, Action.CONTINUE) for trial_id in ranked[:places]]
        return [*going, *((trial_id, Action.STOP) for trial_id in ranked[places:])]


class TrainOnly(NoStopping):
    """A null: looks at no training at all, picks ``keep`` trials by their configuration and trains those to the end.

    Args:
        name: How it is shown.
        order: Sort key of a configuration, smallest first; ties are drawn at random.
        keep: How many are trained.
    """

    def __init__(self, name: str, order: Callable[[TrialFacts], tuple[float, ...]], keep: int = 1) -> None:
        self.name, self._order, self._keep = name, order, keep

    def begin(self, problem: Problem) -> None:
        """Pick."""
        draws = np.random.default_rng(problem.seed).permutation(len(problem.trials))
        ranked = sorted(zip(problem.trials, draws, strict=True), key=lambda pair: (*self._order(pair[0]), pair[1]))
        self._dropped: list[str] = [facts.trial_id for facts, _ in ranked[self._keep :]]

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """End the others before they start."""
        dropped, self._dropped = self._dropped, []
        return [(trial_id, Action.STOP) for trial_id in dropped]


@dataclass(frozen=True)
class EveryRung:
    """One trial in ``factor`` goes on (rounded up) at every level before the last, from ``first_share`` of the budget on."""

    factor: float
    first_share: float = 0.0

    def __call__(self, levels: Sequence[int]) -> Mapping[int, Callable[[int], int]]:
        """Return the judged levels."""
        # Levels are rounded to whole batches: one just below the share is the one that was meant.
        return {
            index: lambda size: math.ceil(size / self.factor - 1e-9)
            for index, level in enumerate(levels[:-1])
            if level >= 0.95 * self.first_share * levels[-1]
        }


@dataclass(frozen=True)
class OneRung:
    """``keep`` trials (a count, or below 1 a share, rounded up) go on at the first level at or past ``share`` of the budget.

    Where no level before the last lies there, the last but one is taken.
    """

    share: float
    keep: float

    def __call__(self, levels: Sequence[int]) -> Mapping[int, Callable[[int], int]]:
        """Return the judged level."""
        reached = [index for index, level in enumerate(levels[:-1]) if level >= 0.95 * self.share * levels[-1]]
        if len(levels) < 2:
            return {}
        return {reached[0] if reached else len(levels) - 2: self._places}

    def _places(self, size: int) -> int:
        return math.ceil(size * self.keep - 1e-9) if self.keep < 1 else int(self.keep)


def lowest_learning_rate(facts: TrialFacts) -> tuple[float, ...]:
    """Sort key: the learning rate."""
    return (facts.learning_rate,)


def largest_batch(facts: TrialFacts) -> tuple[float, ...]:
    """Sort key: the effective batch size, largest first."""
    return (-facts.effective_batch_size,)


def lowest_rate_of_largest_batch(facts: TrialFacts) -> tuple[float, ...]:
    """Sort key: both, the batch first."""
    return (-facts.effective_batch_size, facts.learning_rate)
