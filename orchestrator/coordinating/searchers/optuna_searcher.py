"""Configurations proposed by Optuna's samplers, which learn at every milestone: what all of them have in common."""

from __future__ import annotations

import itertools
import math
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from threadpoolctl import threadpool_limits

from orchestrator.coordinating.searchers.comparable_scores import Known, Losses, comparable_losses
from orchestrator.coordinating.searchers.optuna_space import config_from, distributions_of, parameters_of
from orchestrator.coordinating.searchers.searcher import SearchTask
from orchestrator.coordinating.searchers.sobol import sobol_points
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.search_space.enumeration import config_at, count_configs, cube_dimensions, grid_configs
from orchestrator.spec.trial.identity import trial_fingerprint

# A sampler that repeats known configurations this often is sure of itself: quasi-random points take over.
MAX_SAMPLED = 10
# When so many quasi-random points in a row are known, what is left of a finite space follows in order.
MAX_POINTS = 200

Row = tuple[Known, Losses | None]


class OptunaSearcher(ABC):
    """Proposes with an Optuna sampler; start-up trials are Sobol points.

    Optuna's trials cannot change once they have ended, and its samplers hold random states. So every proposal
    makes a fresh study of all that is known, and seeds its sampler by the searcher's seed and the number of
    known configurations: equal knowledge, equal proposal, in whatever process. A TPE model over the method
    alone chooses it; the sampler chooses the rest among that method's own dimensions.

    Attributes:
        hears_other_methods: Whether its model of one method is told how trials of the others did.
        threads: Threads that it may use; None: as many as there are.
    """

    hears_other_methods: ClassVar[bool] = False
    threads: ClassVar[int | None] = None

    def __init__(self, task: SearchTask) -> None:
        # What Optuna warns of (an optional package that is missing) is nothing that users of a sweep can act on.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.task = task
        self._methods = list(task.space.method)
        self._known: dict[str, Known] = {}
        self._originals: set[str] = set()
        self._repeats: deque[TrialConfig] = deque()

    def propose(self) -> TrialConfig | None:
        """Return the next configuration; repeats of it (other seeds) follow one after another."""
        config = next((each for each in self._candidates() if trial_fingerprint(each) not in self._known), None)
        if config is not None:
            self._note(config)
        return config

    def tell(
        self, config: TrialConfig, outcome: Outcome, level: int = 0, scores: Mapping[str, float] | None = None
    ) -> None:
        """Take in how a configuration stands, and its scores at a milestone if there are any."""
        known = self._note(config)
        known.outcome = outcome
        if scores:
            known.scores[level] = dict(scores)

    # -- what is known ---------------------------------------------------------------------------

    def _note(self, config: TrialConfig) -> Known:
        fingerprint = trial_fingerprint(config)
        if fingerprint not in self._known:
            original = self._original_of(config)
            if original is None:
                self._originals.add(fingerprint)
                self._repeats.extend(replace(config, seed=config.seed + n) for n in range(1, self.task.space.repeats))
            parameters = parameters_of(self.task.space, config) if original is None else original.parameters
            self._known[fingerprint] = Known(config, parameters)
        return self._known[fingerprint]

    def _original_of(self, config: TrialConfig) -> Known | None:
        """Return the configuration that this one repeats with another seed; None if it is none of the repeats."""
        for number in range(1, self.task.space.repeats):
            fingerprint = trial_fingerprint(replace(config, seed=config.seed - number))
            if fingerprint in self._originals:
                return self._known[fingerprint]
        return None

    # -- proposals -------------------------------------------------------------------------------

    def _candidates(self) -> Iterator[TrialConfig]:
        """Yield configurations, known ones among them, from the most wanted on."""
        while self._repeats:
            yield self._repeats.popleft()
        yield from self._sampled()
        yield from self._scattered()
        if count_configs(self.task.space) is not None:
            yield from grid_configs(self.task.space.model_copy(update={"repeats": 1}), self.task.samples)

    def _scattered(self, method: str | None = None) -> Iterator[TrialConfig]:
        """Yield quasi-random configurations, of one method if it is given."""
        dimensions = cube_dimensions(self.task.space)
        points = sobol_points(dimensions, self.task.spec.seed, skip=len(self._originals))
        for point in itertools.islice(points, MAX_POINTS):
            if method is not None:
                point[0] = (self._methods.index(method) + 0.5) / len(self._methods)
            yield config_at(self.task.space, point, self.task.samples)

    def _sampled(self) -> Iterator[TrialConfig]:
        """Yield what the sampler proposes, once enough is known."""
        known, startup = list(self._known.values()), self.task.spec.startup_trials
        rows = list(zip(known, comparable_losses(known, self.task.objectives, startup), strict=True))
        if _judged(rows) < startup:
            return
        entropy = np.random.SeedSequence([self.task.spec.seed, len(known)])
        method_seed, seed = (int(word) for word in entropy.generate_state(2))
        method = self._chosen_method(rows, method_seed)
        if _judged(rows, method) < max(2, math.ceil(startup / len(self._methods))):
            yield from self._scattered(method)
        else:
            yield from self._modelled(rows, method, seed)

    def _chosen_method(self, rows: Sequence[Row], seed: int) -> str:
        if len(self._methods) == 1:
            return self._methods[0]
        distributions = {"method": optuna.distributions.CategoricalDistribution(self._methods)}
        trials = [_trial({"method": entry.config.method}, distributions, losses) for entry, losses in rows]
        return str(_study(tpe_sampler(seed), trials).ask(distributions).params["method"])

    def _modelled(self, rows: Sequence[Row], method: str, seed: int) -> Iterator[TrialConfig]:
        """Yield what the sampler proposes for one method."""
        distributions = distributions_of(self.task.space, method)
        trials = []
        for entry, losses in rows:
            if entry.config.method == method:
                trials.append(_trial(entry.parameters, distributions, losses))
            elif self.hears_other_methods:
                trials.append(_trial({}, {}, losses))
        study = _study(self.sampler(seed, _judged(rows, method)), trials)
        for _ in range(MAX_SAMPLED):
            # A known proposal is left open: the sampler takes it for one that is being trained and keeps away.
            with threadpool_limits(self.threads):
                parameters = study.ask(distributions).params
            yield config_from(self.task.space, method, parameters, self.task.samples)

    @abstractmethod
    def sampler(self, seed: int, judged: int) -> BaseSampler:
        """Return the sampler of one proposal.

        Args:
            seed: Follows from the searcher's seed and from how much is known.
            judged: How many trials of the method have scores.
        """


def _judged(rows: Sequence[Row], method: str | None = None) -> int:
    """Return how many configurations (of a method) have losses."""
    return sum(losses is not None and method in (None, entry.config.method) for entry, losses in rows)


def tpe_sampler(seed: int) -> BaseSampler:
    """Return Optuna's TPE sampler as it is used here."""
    with warnings.catch_warnings():
        # ``group`` lets trials without parameters count; users need not hear that it is new.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=1, multivariate=True, group=True, constant_liar=True
        )


def _study(sampler: BaseSampler, trials: Sequence[FrozenTrial]) -> Study:
    objectives = next(len(trial.values) for trial in trials if trial.values is not None)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
    study.add_trials(trials)
    return study


def _trial(
    parameters: Mapping[str, object], distributions: Mapping[str, BaseDistribution], losses: Losses | None
) -> FrozenTrial:
    """Return a completed trial, or a running one where no losses are known."""
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        params=dict(parameters),
        distributions=dict(distributions),
        values=losses,
        state=states.RUNNING if losses is None else states.COMPLETE,
        system_attrs={optuna.samplers.NSGAIISampler._get_generation_key(): 0},
    )
