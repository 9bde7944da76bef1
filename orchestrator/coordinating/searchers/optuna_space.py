"""Domains in Optuna's terms: a configuration of one method as parameters with distributions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from orchestrator.records import TrialConfig
from orchestrator.spec.search_space.domains import Choice, Domain, Fixed, Integer, Uniform
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.dimensions import build_config, number_of, read_value, value_of

Distributions = dict[str, object]
"""Dimension -> Optuna's distribution."""


def distributions_of(space: SearchSpace, method: str) -> Distributions:
    """Return the dimensions of a method that can vary, in the order of `SearchSpace.dimensions`."""
    found = {name: _distribution(domain) for name, domain in space.dimensions(method).items()}
    return {name: distribution for name, distribution in found.items() if distribution is not None}


def parameters_of(space: SearchSpace, config: TrialConfig) -> dict[str, object]:
    """Return a configuration's parameters in the terms of `distributions_of`; inverse of `config_from`."""
    domains = space.dimensions(config.method)
    return {name: _parameter(config, name, domains[name]) for name in distributions_of(space, config.method)}


def config_from(space: SearchSpace, method: str, parameters: Mapping[str, Any], samples: int) -> TrialConfig:
    """Return the configuration that parameters stand for, every value rounded as its domain asks."""
    domains = space.dimensions(method)
    values = {name: _value(domain, parameters.get(name)) for name, domain in domains.items()}
    return build_config(method, values, samples)


def _distribution(domain: Domain) -> Any | None:
    """Return Optuna's distribution; None where there is nothing to choose."""
    if domain.size() == 1:
        return None
    if isinstance(domain, Choice):
        # Optuna's categories are scalars; positions stand for values of any kind.
        return CategoricalDistribution(list(range(len(domain.values))))
    if isinstance(domain, Integer):
        return IntDistribution(domain.low, domain.snap(domain.high), domain.log, 1 if domain.log else domain.step)
    assert isinstance(domain, Uniform)
    return FloatDistribution(domain.low, domain.high, domain.log)


def _value(domain: Domain, parameter: Any) -> object:
    if isinstance(domain, Fixed) or parameter is None:
        return domain.at(0.0)
    return domain.values[parameter] if isinstance(domain, Choice) else domain.snap(parameter)


def _parameter(config: TrialConfig, name: str, domain: Domain) -> object:
    if isinstance(domain, Choice):
        return [read_value(name, value) for value in domain.values].index(value_of(config, name))
    taken = number_of(config, name)
    if isinstance(domain, Integer):
        return domain.snap(taken)
    assert isinstance(domain, Uniform)
    return min(max(taken, domain.low), domain.high)
