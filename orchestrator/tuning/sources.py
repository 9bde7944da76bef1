"""Where configurations come from: grid, random, Sobol, and Optuna's samplers, behind one small contract.

A source is a deterministic function of its seed and of what it was told, so that a resumed sweep rebuilds
it by telling it everything the journal holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from orchestrator.records import TrialConfig
from orchestrator.spec.domains import Choice, Domain, Fixed, Integer, Uniform
from orchestrator.spec.enumeration import config_at, cube_dimensions, grid_configs, with_repeats
from orchestrator.spec.identity import trial_fingerprint
from orchestrator.spec.search_space import SearchSpace, build_config
from orchestrator.spec.sweep import ObjectiveSpec, SearcherSpec, SweepSpec

# Proposals that repeat a known configuration are passed over this often before the space counts as exhausted.
MAX_REPEATED_PROPOSALS = 200


class ConfigSource(Protocol):
    """Proposes configurations and hears how they did.

    Contract: `propose` returns a new configuration or None when there are no more. `tell` may come in any
    order and for any configuration that was proposed (by this or by an earlier, interrupted process).
    """

    def propose(self) -> TrialConfig | None:
        """Return the next configuration, or None when the space is exhausted."""
        ...

    def tell(self, config: TrialConfig, scores: Mapping[str, float] | None, samples_seen: int, completed: bool) -> None:
        """Learn the last scores of a configuration (None: it failed before its first), and whether it was trained to its end."""
        ...


class ListSource:
    """Proposes a fixed list."""

    def __init__(self, configs: Sequence[TrialConfig]) -> None:
        self._configs = list(configs)
        self._next = 0

    def propose(self) -> TrialConfig | None:
        """Return the next of the list."""
        if self._next >= len(self._configs):
            return None
        self._next += 1
        return self._configs[self._next - 1]

    def tell(self, config: TrialConfig, scores: Mapping[str, float] | None, samples_seen: int, completed: bool) -> None:
        """Lists do not learn."""


class OptunaSource:
    """Proposes with an Optuna sampler over the conditional space (define by run).

    Args:
        space: Search space; each method opens its own dimensions, named ``METHOD.NAME``.
        searcher: Kind (tpe, gp, nsga2), seed, number of quasi-random start-up trials.
        objectives: One objective, or several for nsga2.
        samples: Budget of one trial.
    """

    def __init__(
        self, space: SearchSpace, searcher: SearcherSpec, objectives: Sequence[ObjectiveSpec], samples: int
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._states = optuna, optuna.trial.TrialState
        self._space, self._objectives, self._samples = space, list(objectives), samples
        directions = ["minimize" if objective.mode == "min" else "maximize" for objective in self._objectives]
        self._study = optuna.create_study(sampler=_sampler(searcher), directions=directions)
        self._asked: dict[str, Any] = {}
        self._queue: list[TrialConfig] = []

    def propose(self) -> TrialConfig | None:
        """Ask the sampler for a configuration; repeats of it (other seeds) follow one after another."""
        if self._queue:
            return self._queue.pop(0)
        trial = self._study.ask()
        method = trial.suggest_categorical("method", list(self._space.method))
        values = {
            name: _suggest(trial, f"{method}.{name}", domain) for name, domain in self._space.dimensions(method).items()
        }
        config = build_config(method, values, self._samples)
        self._asked[trial_fingerprint(config)] = trial
        first, *self._queue = with_repeats([config], self._space.repeats)
        return first

    def tell(self, config: TrialConfig, scores: Mapping[str, float] | None, samples_seen: int, completed: bool) -> None:
        """Tell the study; a configuration of an earlier process is added as a finished trial."""
        state, values = self._outcome(scores, completed)
        asked = self._asked.pop(trial_fingerprint(config), None)
        if asked is not None:
            if values and len(self._objectives) == 1:
                asked.report(values[0], samples_seen)
            self._study.tell(asked, values if state is self._states.COMPLETE else None, state=state)
            return
        distributions, parameters = _distributions(self._space, config)
        steps = {samples_seen: values[0]} if values and len(self._objectives) == 1 else None
        complete = values if state is self._states.COMPLETE else None
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params=parameters, distributions=distributions, values=complete, intermediate_values=steps, state=state
            )
        )

    def _outcome(self, scores: Mapping[str, float] | None, completed: bool) -> tuple[Any, list[float] | None]:
        """Return Optuna's state and values: a trial stopped early is pruned, its last score an intermediate value."""
        values = None if scores is None else [_weighted(objective, scores) for objective in self._objectives]
        if values is None or not all(map(math.isfinite, values)):
            return self._states.FAIL, None
        return (self._states.COMPLETE if completed else self._states.PRUNED), values


def make_source(spec: SweepSpec, samples: int, trials: int) -> ConfigSource:
    """Return the source that a sweep's ``searcher`` names, already limited to what the space holds."""
    kind, space = spec.searcher.kind, spec.search_space
    if kind == "grid":
        return ListSource(grid_configs(space, samples))
    if kind in ("random", "sobol"):
        distinct = math.ceil(trials / space.repeats)
        return ListSource(list(with_repeats(_distinct_configs(spec, samples, distinct), space.repeats)))
    return OptunaSource(space, spec.searcher, spec.searcher.objectives or [spec.objective], samples)


def _distinct_configs(spec: SweepSpec, samples: int, count: int) -> list[TrialConfig]:
    """Draw different configurations; fewer than asked when the space does not hold so many."""
    found: dict[str, TrialConfig] = {}
    repeated = 0
    for point in _points(spec.searcher, cube_dimensions(spec.search_space)):
        config = config_at(spec.search_space, point, samples)
        fingerprint = trial_fingerprint(config)
        repeated = repeated + 1 if fingerprint in found else 0
        found.setdefault(fingerprint, config)
        if len(found) >= count or repeated >= MAX_REPEATED_PROPOSALS:
            break
    return list(found.values())


def _points(searcher: SearcherSpec, dimensions: int) -> Any:
    if searcher.kind == "random":
        generator = np.random.default_rng(searcher.seed)
        while True:
            yield generator.random(dimensions)
    from scipy.stats import qmc

    # Scrambling with a seed keeps Sobol's balance and avoids its first point, the corner of the cube.
    sobol = qmc.Sobol(dimensions, scramble=True, seed=searcher.seed)
    while True:
        yield from sobol.random_base2(7) if sobol.num_generated == 0 else sobol.random(sobol.num_generated)


def _sampler(searcher: SearcherSpec) -> Any:
    import optuna

    if searcher.kind == "gp":
        return optuna.samplers.GPSampler(seed=searcher.seed, n_startup_trials=searcher.startup_trials)
    if searcher.kind == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=searcher.seed)
    return optuna.samplers.TPESampler(
        seed=searcher.seed, n_startup_trials=searcher.startup_trials, multivariate=True, group=True, constant_liar=True
    )


def _suggest(trial: Any, name: str, domain: Domain) -> Any:
    if isinstance(domain, Fixed):
        return domain.value
    if isinstance(domain, Choice):
        # Optuna's categories are scalars; positions stand for values of any kind.
        return domain.values[trial.suggest_categorical(name, list(range(len(domain.values))))]
    if isinstance(domain, Integer):
        step = 1 if domain.log else domain.step
        return trial.suggest_int(name, domain.low, domain.high, step=step, log=domain.log)
    if domain.low == domain.high:
        return domain.low
    value = trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    return value if domain.quantum is None else round(value / domain.quantum) * domain.quantum


def _distributions(space: SearchSpace, config: TrialConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Optuna's distributions and parameters of a configuration proposed by an earlier process."""
    from optuna import distributions as kinds

    methods = list(space.method)
    found: dict[str, Any] = {"method": kinds.CategoricalDistribution(methods)}
    parameters: dict[str, Any] = {"method": config.method}
    values = _values_of(config)
    for name, domain in space.dimensions(config.method).items():
        key, value = f"{config.method}.{name}", values[name]
        if isinstance(domain, Choice):
            found[key] = kinds.CategoricalDistribution(list(range(len(domain.values))))
            parameters[key] = domain.values.index(value)
        elif isinstance(domain, Integer):
            found[key] = kinds.IntDistribution(domain.low, domain.high, domain.log, 1 if domain.log else domain.step)
            parameters[key] = value
        elif isinstance(domain, Uniform) and domain.low != domain.high:
            found[key] = kinds.FloatDistribution(domain.low, domain.high, domain.log)
            parameters[key] = min(max(value, domain.low), domain.high)
    return found, parameters


def _values_of(config: TrialConfig) -> dict[str, Any]:
    """Return a configuration as values per dimension, inverse of `build_config`."""
    values = config.as_dict()
    options = values.pop("method_options")
    schedule_options = values.pop("schedule_options")
    if schedule_options:
        values["schedule"] = {"name": values["schedule"], **schedule_options}
    amount, unit = values.pop("warmup_amount"), values.pop("warmup_unit")
    values["warmup"] = {unit: int(amount) if unit != "ratio" else amount} if amount else 0
    return {**values, **{f"option.{key}": value for key, value in options.items()}}


def _weighted(objective: ObjectiveSpec, scores: Mapping[str, float]) -> float:
    return sum(weight * scores.get(name, math.nan) for name, weight in objective.weights.items())
