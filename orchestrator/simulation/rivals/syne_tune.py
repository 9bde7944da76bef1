"""Syne Tune's own schedulers under replay (an optional extra).

Syne Tune 0.16 has two schedulers that stop trials: `AsynchronousSuccessiveHalving` in its stopping form, with one
or several brackets, and `MedianStoppingRule`, here on top of its plain random search. Promotion-type ASHA,
synchronous Hyperband and Hyper-Tune were taken out of Syne Tune before 0.16; releases that have them need
numpy < 1.27 and cannot be installed beside this package. ASHABORE, ASHACQR and BOHB stop as ASHA does and
differ in the configurations that they propose, which a replay does not ask for.

Schedulers are called as `syne_tune.Tuner` calls them: `on_trial_add` as a trial starts, `on_trial_result` at each
milestone, `on_trial_remove` after a stop, `on_trial_complete` when a trial ends by itself, `on_trial_error` when
it diverges. Configurations are fixed and never looked at. Time is the milestone in samples seen.

Constraints of an objective are unknown to Syne Tune and not applied. A replay takes the best final
objective of the trials that trained to the end; `Tuner.best_config` takes the best value that any trial
reported at any time, and may name a stopped trial or an unfinished state of one.
"""

from __future__ import annotations

import datetime
import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from orchestrator.errors import InputError
from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Scheduler, Verdicts
from orchestrator.simulation.rivals.shared import (
    OwnNumpyRandom,
    first_rung,
    grace_label,
    grace_level,
    is_unscored,
    nominal_level,
    rung_count,
)

METRIC = "objective"
TIME = "samples_seen"
MOST_BRACKETS = 3

BELOW = 1 - 1e-9
"""Keeps a rung that falls on a milestone from lying above it by rounding."""
REDUCTION_FACTORS = (2, 3, 4)


class SyneTuneScheduler(Protocol):
    """What of Syne Tune's schedulers is needed."""

    def on_trial_add(self, trial: object) -> None:
        """A trial begins."""

    def on_trial_error(self, trial: object) -> None:
        """A trial failed."""

    def on_trial_result(self, trial: object, result: Mapping[str, float]) -> str:
        """Return what a trial does after a result."""

    def on_trial_remove(self, trial: object) -> None:
        """A trial was stopped."""

    def on_trial_complete(self, trial: object, result: Mapping[str, float]) -> None:
        """A trial trained to its end."""


Build = Callable[[Problem], SyneTuneScheduler]
"""Makes one of Syne Tune's schedulers for a sweep."""


class MissingPackageError(InputError, ImportError):
    """A rule needs an optional package that is not installed."""


class SyneScheduler:
    """One of Syne Tune's schedulers behind `Scheduler`.

    Args:
        name: The rule's name.
        build: Makes the scheduler for a sweep.
    """

    def __init__(self, name: str, build: Build) -> None:
        self.name = name
        self.build = build

    def begin(self, problem: Problem) -> None:
        """Forget everything and take a new sweep."""
        self._problem = problem
        self._scheduler = self.build(problem)
        self._random = OwnNumpyRandom(problem.seed)
        self._numbers = {facts.trial_id: number for number, facts in enumerate(problem.trials)}
        self._trials: list[object] = []

    def arrive(self, arrival: Arrival) -> Action:
        """Return what the trial does now; raises SpecError when the objective's metric was not measured."""
        trial = self._trial(arrival.trial_id)
        if is_unscored(arrival):
            return Action.CONTINUE
        if arrival.diverged:
            self._scheduler.on_trial_error(trial)
            return Action.STOP
        value = self._problem.objective.value(arrival.scores)
        result = {TIME: nominal_level(self._problem, arrival), METRIC: value}
        action = Action(self._scheduler.on_trial_result(trial, result))
        if action is Action.STOP:
            self._scheduler.on_trial_remove(trial)
        elif arrival.completed:
            self._scheduler.on_trial_complete(trial, result)
        return action

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Return nothing: these schedulers pause no trial."""
        return ()

    def winner(self) -> str | None:
        """Return None: the best of those that went farthest."""
        return None

    def _trial(self, trial_id: str) -> object:
        from syne_tune.backend.trial_status import Trial

        # Trials start in order, so those before this one have been added before it.
        number = self._numbers[trial_id]
        with self._random.installed():
            for new in range(len(self._trials), number + 1):
                self._trials.append(Trial(new, {"trial": 0.5}, datetime.datetime.min))
                self._scheduler.on_trial_add(self._trials[-1])
        return self._trials[number]


def syne_rules() -> Mapping[str, Callable[[], Scheduler]]:
    """Return Syne Tune's rules, name -> factory.

    ``rfN`` is the reduction factor, ``grace1inN`` lets every trial train an N-th of the budget (else the first
    level), ``bracketsN`` the number of brackets (fewer where the budget holds fewer).

    Raises:
        MissingPackageError: If Syne Tune is not installed; names the extra that brings it.
    """
    if importlib.util.find_spec("syne_tune") is None:
        raise MissingPackageError(
            "syne-tune",
            rule="the rules syne-* need this package, which is not installed",
            mend="install it with: pip install 'sft-orchestrator[rivals]'",
        )
    rules: dict[str, Build] = {}
    for factor in REDUCTION_FACTORS:
        rules[f"syne-asha-rf{factor}"] = partial(_asha, factor, 0, 1)
        rules[f"syne-async-hyperband-rf{factor}-brackets{MOST_BRACKETS}"] = partial(_asha, factor, 0, MOST_BRACKETS)
    for grace in (8, 4):
        rules[f"syne-asha-rf4{grace_label(grace)}"] = partial(_asha, 4, grace, 1)
    for grace in (0, 8, 4):
        rules[f"syne-median{grace_label(grace)}"] = partial(_median, grace)
    return {name: partial(SyneScheduler, name, build) for name, build in rules.items()}


def _asha(reduction_factor: int, grace: int, brackets: int, problem: Problem) -> SyneTuneScheduler:
    from syne_tune.optimizer.schedulers.asha import AsynchronousSuccessiveHalving

    levels = problem.levels
    first = BELOW * first_rung(levels, grace_level(levels, grace), reduction_factor)
    rungs = rung_count(levels, first, reduction_factor)
    scheduler: SyneTuneScheduler = AsynchronousSuccessiveHalving(
        _space(),
        METRIC,
        do_minimize=problem.objective.mode == "min",
        time_attr=TIME,
        max_t=levels[-1],
        grace_period=first,
        reduction_factor=reduction_factor,
        brackets=min(brackets, rungs),
        random_seed=problem.seed,
    )
    return scheduler


def _median(grace: int, problem: Problem) -> SyneTuneScheduler:
    from syne_tune.optimizer.schedulers.median_stopping_rule import MedianStoppingRule
    from syne_tune.optimizer.schedulers.single_objective_scheduler import SingleObjectiveScheduler

    minimize = problem.objective.mode == "min"
    searcher = SingleObjectiveScheduler(_space(), METRIC, do_minimize=minimize, random_seed=problem.seed)
    scheduler: SyneTuneScheduler = MedianStoppingRule(
        searcher, TIME, metric=METRIC, do_minimize=minimize, grace_time=grace_level(problem.levels, grace)
    )
    return scheduler


def _space() -> dict[str, object]:
    from syne_tune.config_space import uniform

    return {"trial": uniform(0.0, 1.0)}
