"""Ray Tune's own schedulers under replay.

How Tune is set up here:

- Trials are added as Tune adds them for configurations that are known beforehand (`BasicVariantGenerator`):
  up to 200 wait as PENDING and have had `on_trial_add`; as one starts, the next is added.
- A free worker goes to the paused trial that `choose_trial_to_run` names, else to the next trial in the order
  of the sweep (Tune's own controller starts pending trials in their order too).
- Time is the milestone in samples seen, equal for all batch sizes; the last is ``max_t``. HyperBand counts in
  units of which ``max_t`` is a power of the reduction factor, as otherwise none of its larger brackets would
  train a trial to the end; the power is the one that brings one unit nearest to the first level.
- A trial that diverges ends with an error. A score that is not a number is reported as it is: ASHA lets such
  a trial go on, the median rule leaves it out of the median, HyperBand sorts by it.

Constraints of an objective are unknown to Tune and not applied. A replay takes the best final objective of
the trials that trained to the end; Tune's `ResultGrid.get_best_result` takes the best *last* result of all
trials, also of stopped ones, and may name a stopped trial where scores get worse with training.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Scheduler, Verdicts
from orchestrator.simulation.rivals.shared import (
    ROUNDING_SLACK,
    OwnNumpyRandom,
    Workers,
    first_rung,
    grace_label,
    grace_level,
    is_unscored,
    nominal_level,
    rung_count,
)
from orchestrator.simulation.rivals.tune_controller import METRIC, TIME, TuneController

MAX_PENDING_TRIALS = 200
"""Tune's own default for known configurations (`_get_max_pending_trials`)."""

MOST_BRACKETS = 3

BELOW = 1 - 1e-9
"""Keeps a rung that falls on a milestone from lying above it by rounding."""

REDUCTION_FACTORS = (2, 3, 4)

Build = Callable[[Problem], tuple[object, float]]
"""Makes one of Tune's schedulers; returns it with the samples that one unit of its time stands for."""


class RayScheduler:
    """One of Ray Tune's schedulers behind `Scheduler`.

    Args:
        name: The rule's name.
        build: Makes the scheduler for a sweep.
    """

    def __init__(self, name: str, build: Build) -> None:
        self.name = name
        self.build = build

    def begin(self, problem: Problem) -> None:
        """Forget everything and take a new sweep."""
        scheduler, self._unit = self.build(problem)
        self._problem, self._workers = problem, Workers(problem)
        self._random = OwnNumpyRandom(problem.seed)
        self._controller = TuneController(scheduler)
        self._unknown = deque(facts.trial_id for facts in problem.trials)
        self._add(MAX_PENDING_TRIALS)

    def arrive(self, arrival: Arrival) -> Action:
        """Return what the trial does now; raises SpecError when the objective's metric was not measured."""
        self._start(self._workers.all_busy())
        action = self._tell(arrival)
        if arrival.completed or action is not Action.CONTINUE:
            self._workers.leave(arrival.trial_id)
        return action

    def _tell(self, arrival: Arrival) -> Action:
        if is_unscored(arrival):
            return Action.CONTINUE
        if arrival.diverged:
            self._controller.fail(arrival.trial_id)
            return Action.STOP
        time = nominal_level(self._problem, arrival) / self._unit
        value = self._problem.objective.value(arrival.scores)
        return self._controller.report(arrival.trial_id, time, value, arrival.completed)

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Return the paused trials that Tune stops, and at most one that it resumes."""
        self._start(self._workers.some_idle(idle_workers))
        self._controller.process_stalled_brackets()
        resumed = self._controller.paused_trial_to_run() if self._workers.unclaimed(idle_workers) > 0 else None
        stopped, self._controller.stopped = self._controller.stopped, []
        verdicts = [(trial_id, Action.STOP) for trial_id in stopped]
        if resumed is not None:
            self._workers.promote(resumed)
            self._controller.start(resumed)
            verdicts.append((resumed, Action.CONTINUE))
        return verdicts

    def winner(self) -> str | None:
        """Return None: the best of those that went farthest."""
        return None

    def _start(self, trial_ids: list[str]) -> None:
        self._add(sum(self._controller.start(trial_id) for trial_id in trial_ids))

    def _add(self, count: int) -> None:
        with self._random.installed():
            for _ in range(min(count, len(self._unknown))):
                self._controller.add(self._unknown.popleft())


def ray_rules() -> Mapping[str, Callable[[], Scheduler]]:
    """Return Ray Tune's rules, name -> factory.

    ``rfN`` is the reduction factor, ``grace1inN`` lets every trial train an N-th of the budget (else the first
    level), ``bracketsN`` the number of brackets (fewer where the budget holds fewer).
    """
    rules: dict[str, Build] = {}
    for factor in REDUCTION_FACTORS:
        rules[f"ray-asha-rf{factor}"] = partial(_asha, factor, 0, 1)
        rules[f"ray-async-hyperband-rf{factor}-brackets{MOST_BRACKETS}"] = partial(_asha, factor, 0, MOST_BRACKETS)
        rules[f"ray-hyperband-rf{factor}"] = partial(_hyperband, factor)
    for grace in (8, 4):
        rules[f"ray-asha-rf4{grace_label(grace)}"] = partial(_asha, 4, grace, 1)
    for grace in (0, 8, 4):
        rules[f"ray-median{grace_label(grace)}"] = partial(_median, grace)
    return {name: partial(RayScheduler, name, build) for name, build in rules.items()}


def _asha(reduction_factor: int, grace: int, brackets: int, problem: Problem) -> tuple[object, float]:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    levels = problem.levels
    first = BELOW * first_rung(levels, grace_level(levels, grace), reduction_factor)
    rungs = rung_count(levels, first, reduction_factor)
    scheduler = AsyncHyperBandScheduler(
        time_attr=TIME,
        metric=METRIC,
        mode=problem.objective.mode,
        max_t=levels[-1],
        grace_period=first,
        reduction_factor=reduction_factor,
        brackets=min(brackets, rungs),
    )
    return scheduler, 1.0


def _hyperband(reduction_factor: int, problem: Problem) -> tuple[object, float]:
    from ray.tune.schedulers import HyperBandScheduler

    budget = problem.levels[-1]
    halvings = round(math.log(budget / problem.levels[0]) / math.log(reduction_factor))
    units = reduction_factor**halvings
    scheduler = HyperBandScheduler(
        time_attr=TIME, metric=METRIC, mode=problem.objective.mode, max_t=units, reduction_factor=reduction_factor
    )
    return scheduler, (1 - ROUNDING_SLACK) * budget / units


def _median(grace: int, problem: Problem) -> tuple[object, float]:
    from ray.tune.schedulers import MedianStoppingRule

    first = grace_level(problem.levels, grace)
    scheduler = MedianStoppingRule(time_attr=TIME, metric=METRIC, mode=problem.objective.mode, grace_period=first)
    return scheduler, 1.0
