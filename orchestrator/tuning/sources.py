"""Where configurations come from: grid, random, Sobol, and Optuna's samplers, behind one small contract.

A source is a deterministic function of its seed and of what it was told, so that a resumed sweep rebuilds
it by telling it everything the journal holds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from orchestrator.records import TrialConfig
from orchestrator.spec.domains import Choice, Domain, Fixed, Integer, Uniform
from orchestrator.spec.enumeration import config_at, count_configs, cube_dimensions, grid_configs, with_repeats
from orchestrator.spec.identity import trial_fingerprint
from orchestrator.spec.search_space import SearchSpace, build_config, read_schedule, read_warmup
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

    A sampler may propose what it proposed before; such proposals are withdrawn. Where a finite space yields
    nothing new that way, the rest of its grid follows in order, so that it is searched to its end.

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
        self._known: set[str] = set()
        self._queue: list[TrialConfig] = []
        self._rest: Iterator[TrialConfig] | None = None

    def propose(self) -> TrialConfig | None:
        """Ask the sampler for a configuration; repeats of it (other seeds) follow one after another."""
        if self._queue:
            return self._queue.pop(0)
        config = self._new_config()
        if config is None:
            return None
        first, *self._queue = with_repeats([config], self._space.repeats)
        return first

    def _new_config(self) -> TrialConfig | None:
        for _ in range(0 if self._rest is not None else MAX_REPEATED_PROPOSALS):
            trial = self._study.ask()
            config = self._suggested(trial)
            fingerprint = trial_fingerprint(config)
            if fingerprint not in self._known:
                self._known.add(fingerprint)
                self._asked[fingerprint] = trial
                return config
            self._study.tell(trial, state=self._states.FAIL)
        if self._rest is None:
            finite = count_configs(self._space) is not None
            once = self._space.model_copy(update={"repeats": 1})
            self._rest = iter(grid_configs(once, self._samples) if finite else ())
        for config in self._rest:
            if trial_fingerprint(config) not in self._known:
                self._known.add(trial_fingerprint(config))
                return config
        return None

    def _suggested(self, trial: Any) -> TrialConfig:
        method = trial.suggest_categorical("method", list(self._space.method))
        domains = self._space.dimensions(method)
        values = {name: _suggest(trial, f"{method}.{name}", domain) for name, domain in domains.items()}
        return build_config(method, values, self._samples)

    def tell(self, config: TrialConfig, scores: Mapping[str, float] | None, samples_seen: int, completed: bool) -> None:
        """Tell the study; a configuration of an earlier process is added as a finished trial."""
        state, values = self._outcome(scores, completed)
        self._known.add(trial_fingerprint(config))
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
    held = count_configs(spec.search_space)
    if len(found) < count and held is not None:
        # Random points rarely hit the last free cells of a small finite space: add them in order.
        once = spec.search_space.model_copy(update={"repeats": 1})
        for config in grid_configs(once, samples):
            found.setdefault(trial_fingerprint(config), config)
    return list(found.values())[:count]


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
    with warnings.catch_warnings():
        # ``group`` is what makes a conditional space work with ``multivariate``; users need not hear that it is new.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=searcher.seed, n_startup_trials=searcher.startup_trials, multivariate=True, group=True, constant_liar=True
        )  # fmt: skip


def _suggest(trial: Any, name: str, domain: Domain) -> Any:
    if isinstance(domain, Fixed):
        return domain.value
    if isinstance(domain, Choice):
        # Optuna's categories are scalars; positions stand for values of any kind.
        return domain.values[trial.suggest_categorical(name, list(range(len(domain.values))))]
    if isinstance(domain, Integer):
        step = 1 if domain.log else domain.step
        return domain.snap(trial.suggest_int(name, domain.low, _highest(domain), step=step, log=domain.log))
    if domain.low == domain.high:
        return domain.low
    return domain.snap(trial.suggest_float(name, domain.low, domain.high, log=domain.log))


def _highest(domain: Integer) -> int:
    return domain.snap(domain.high)


def _distributions(space: SearchSpace, config: TrialConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return Optuna's distributions and parameters of a configuration proposed by an earlier process."""
    from optuna import distributions as kinds

    methods = list(space.method)
    found: dict[str, Any] = {"method": kinds.CategoricalDistribution(methods)}
    parameters: dict[str, Any] = {"method": config.method}
    for name, domain in space.dimensions(config.method).items():
        key, value = f"{config.method}.{name}", _value_of(config, name, domain, space.repeats)
        if isinstance(domain, Choice):
            found[key] = kinds.CategoricalDistribution(list(range(len(domain.values))))
            parameters[key] = value
        elif isinstance(domain, Integer):
            step = 1 if domain.log else domain.step
            found[key] = kinds.IntDistribution(domain.low, _highest(domain), domain.log, step)
            parameters[key] = domain.snap(value)
        elif isinstance(domain, Uniform) and domain.low != domain.high:
            found[key] = kinds.FloatDistribution(domain.low, domain.high, domain.log)
            parameters[key] = min(max(value, domain.low), domain.high)
    return found, parameters


def _value_of(config: TrialConfig, name: str, domain: Domain, repeats: int) -> Any:
    """Return what a configuration took from a domain; of a choice its position. Inverse of `build_config`."""
    values = config.as_dict()
    if name == "schedule":
        taken: Any = (config.schedule, dict(config.schedule_options))
    elif name == "warmup":
        taken = (config.warmup_unit, config.warmup_amount)
    elif name == "seed":
        # A repeat has the seed of the first one plus its number.
        seeds = [config.seed - repeat for repeat in range(repeats)]
        taken = next((seed for seed in seeds if domain.contains(seed)), config.seed)
    else:
        taken = config.method_options[name.removeprefix("option.")] if name.startswith("option.") else values[name]
    if not isinstance(domain, Choice):
        return taken
    readers: dict[str, Callable[[Any], Any]] = {"schedule": read_schedule, "warmup": read_warmup}
    read = readers.get(name)
    return [value if read is None else read(value) for value in domain.values].index(taken)


def _weighted(objective: ObjectiveSpec, scores: Mapping[str, float]) -> float:
    return sum(weight * scores.get(name, math.nan) for name, weight in objective.weights.items())
