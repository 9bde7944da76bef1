"""Optuna's own pruners under replay, each in a real study in memory.

The loop is the documented one: `Study.ask` when a trial starts, then at every milestone `Trial.report` and
`Trial.should_prune`; a pruned trial is told as PRUNED, also when it is pruned at its last milestone, a finished
one as COMPLETE with its final objective, a diverged one as FAIL. No parameters are suggested: what is trained
is recorded. A step is the milestone in samples seen, equal for all batch sizes. Optuna neither pauses trials
nor resumes them.

`HyperbandPruner` puts a trial into a bracket by a hash of the study's name and the trial's number; the name
carries the seed of the replay.

`WilcoxonPruner` was made for scores of single problem instances. Sweeps record means over evaluation sets, so
here milestones stand in for instances: a trial's curve is compared with the best one's, milestone by milestone.
Successive milestones are not independent, so its threshold is a knob and no error rate. It cannot stop a trial
before the fourth milestone at p < 0.1 (2^-4), the seventh at 0.01. `ThresholdPruner` needs a bound in units of the
metric and `NopPruner` stops nothing: both are left out.

Constraints of an objective are unknown to pruners and not applied. A replay takes the best final objective of
the trials that trained to the end. `Study.best_trial` is the same trial, except that Optuna leaves out what
was pruned at its very last milestone, which of these pruners only Wilcoxon's can do to the best one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival, Problem, Scheduler, Verdicts
from orchestrator.simulation.rivals.shared import first_rung, grace_label, grace_level, is_unscored, nominal_level

REDUCTION_FACTORS = (2, 3, 4)

Build = Callable[[Problem], object]
"""Makes one of Optuna's pruners for a sweep."""


class AskedTrial(Protocol):
    """What of a trial of an Optuna study is needed."""

    def report(self, value: float, step: int) -> None:
        """Note the objective at a step."""

    def should_prune(self) -> bool:
        """Whether the pruner ends the trial now."""


class OptunaScheduler:
    """One of Optuna's pruners behind `Scheduler`.

    Args:
        name: The rule's name.
        build: Makes the pruner for a sweep.
    """

    def __init__(self, name: str, build: Build) -> None:
        self.name = name
        self.build = build

    def begin(self, problem: Problem) -> None:
        """Forget everything and take a new sweep."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = self.build(problem)
        self._problem = problem
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(
            study_name=f"replay-{problem.seed}",
            direction="minimize" if problem.objective.mode == "min" else "maximize",
            sampler=optuna.samplers.RandomSampler(seed=problem.seed),
            pruner=pruner,
        )
        self._numbers = {facts.trial_id: number for number, facts in enumerate(problem.trials)}
        self._asked: list[AskedTrial] = []

    def arrive(self, arrival: Arrival) -> Action:
        """Return what the trial does now; raises SpecError when the objective's metric was not measured."""
        trial = self._trial(arrival.trial_id)
        if is_unscored(arrival):
            return Action.CONTINUE
        if arrival.diverged:
            self._study.tell(trial, state=self._states.FAIL)
            return Action.STOP
        value = self._problem.objective.value(arrival.scores)
        trial.report(value, step=nominal_level(self._problem, arrival))
        if trial.should_prune():
            self._study.tell(trial, state=self._states.PRUNED)
            return Action.STOP
        if arrival.completed:
            self._tell_final(trial, value)
        return Action.CONTINUE

    def settle(self, idle_workers: int, waiting: int) -> Verdicts:
        """Return nothing: Optuna pauses no trial."""
        return ()

    def winner(self) -> str | None:
        """Return None: the best of those that went farthest."""
        return None

    def _trial(self, trial_id: str) -> AskedTrial:
        # Trials start in order, so those before this one have been asked for before it.
        number = self._numbers[trial_id]
        while len(self._asked) <= number:
            self._asked.append(self._study.ask())
        return self._asked[number]

    def _tell_final(self, trial: AskedTrial, value: float) -> None:
        # Optuna takes infinite values, but none that is not a number.
        if math.isnan(value):
            self._study.tell(trial, state=self._states.FAIL)
        else:
            self._study.tell(trial, value)


def optuna_rules() -> Mapping[str, Callable[[], Scheduler]]:
    """Return Optuna's rules, name -> factory.

    ``rfN`` is the reduction factor, ``grace1inN`` lets every trial train an N-th of the budget (else the first
    level), ``startupN`` the trials that must complete before any is pruned (else Optuna's five), ``topN`` the
    percentage kept, ``patienceN`` the milestones without improvement, ``pN`` the threshold of the test in percent.
    """
    rules: dict[str, Build] = {}
    for factor in REDUCTION_FACTORS:
        rules[f"optuna-sha-rf{factor}"] = partial(_successive_halving, factor, 0)
        rules[f"optuna-hyperband-rf{factor}"] = partial(_hyperband, factor)
    for grace in (8, 4):
        rules[f"optuna-sha-rf4{grace_label(grace)}"] = partial(_successive_halving, 4, grace)
    rules["optuna-median"] = partial(_percentile, 50.0, 5, 0)
    rules["optuna-median-startup1"] = partial(_percentile, 50.0, 1, 0)
    rules["optuna-median-startup1-grace1in4"] = partial(_percentile, 50.0, 1, 4)
    for top in (10, 25, 75):
        rules[f"optuna-percentile-top{top}"] = partial(_percentile, float(top), 5, 0)
    for patience in (1, 2):
        rules[f"optuna-patient-patience{patience}"] = partial(_patient, patience)
    for percent in (10, 1):
        rules[f"optuna-wilcoxon-p{percent}"] = partial(_wilcoxon, percent / 100)
    return {name: partial(OptunaScheduler, name, build) for name, build in rules.items()}


def _percentile(percentile: float, startup: int, grace: int, problem: Problem) -> object:
    from optuna.pruners import MedianPruner, PercentilePruner

    first = grace_level(problem.levels, grace)
    if percentile == 50.0:
        return MedianPruner(n_startup_trials=startup, n_warmup_steps=first)
    return PercentilePruner(percentile, n_startup_trials=startup, n_warmup_steps=first)


def _successive_halving(reduction_factor: int, grace: int, problem: Problem) -> object:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(_first_rung(problem, grace, reduction_factor), reduction_factor)


def _hyperband(reduction_factor: int, problem: Problem) -> object:
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(_first_rung(problem, 0, reduction_factor), problem.levels[-1], reduction_factor)


def _patient(patience: int, problem: Problem) -> object:
    from optuna.pruners import PatientPruner

    return PatientPruner(_percentile(50.0, 5, 0, problem), patience)


def _wilcoxon(p_threshold: float, problem: Problem) -> object:
    from optuna.pruners import WilcoxonPruner

    return WilcoxonPruner(p_threshold=p_threshold)


def _first_rung(problem: Problem, grace: int, reduction_factor: int) -> int:
    exact = first_rung(problem.levels, grace_level(problem.levels, grace), reduction_factor)
    return max(1, int(exact + 1e-6))
