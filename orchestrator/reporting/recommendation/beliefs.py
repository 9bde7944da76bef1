"""Beliefs about a positive quantity in log10, and what observations elsewhere make of them.

The quantity is the learning rate (or the effective batch size) that is best for a model, data, method, length of
training and objective. A published rule says where it lies and how far off the rule may be: a normal belief. Past
sweeps observed how far off the rule was elsewhere. These deviations are correlated the more the situations are alike
(`similarity`), so the belief here moves towards what was seen there: the conditional normal distribution, which is
Gaussian-process regression (Rasmussen and Williams 2006, equations 2.25 and 2.26) of the deviation from the rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

SAME_FAMILY, OTHER_FAMILY = 0.8, 0.6
SAME_SOURCE, OTHER_DATA = 0.9, 0.6
SAME_METHOD_FAMILY, OTHER_METHOD = 0.8, 0.6
OTHER_OBJECTIVE = 0.6
PARAMETER_DECADES, SAMPLE_DECADES = 2.0, 3.0
"""Orders of magnitude of model size and of training length over which similarity falls to 1/e."""


@dataclass(frozen=True)
class Belief:
    """A normal belief about log10 of a positive quantity."""

    mean: float
    deviation: float

    @property
    def centre(self) -> float:
        """The median of the quantity itself."""
        return float(10**self.mean)

    def interval(self, coverage: float) -> tuple[float, float]:
        """Return the central interval of the quantity that holds ``coverage`` (0 to 1, both exclusive)."""
        reach = NormalDist().inv_cdf(0.5 + coverage / 2) * self.deviation
        return float(10 ** (self.mean - reach)), float(10 ** (self.mean + reach))


@dataclass(frozen=True)
class Situation:
    """What decides which value is best.

    Attributes:
        model: Identity of the base model.
        family: Its architecture.
        parameters: Its number of parameters.
        data: Identity of the data: a source, then ``?`` or ``#`` and which part of it.
        method: Fine-tuning method; empty where the quantity does not depend on it.
        method_family: Family of the method.
        samples: Training budget of a trial.
        objective: Kind of objective.
    """

    model: str
    family: str
    parameters: int
    data: str
    method: str
    method_family: str
    samples: int
    objective: str


@dataclass(frozen=True)
class Observation:
    """How far the best value of a past sweep lay from what the rule says there.

    Attributes:
        situation: Where it was seen.
        offset: log10 of the observed best value over the rule's.
        error: Standard error of ``offset``: how exactly the sweep tells its best value.
        rule_deviation: Standard deviation of the rule's own belief there.
    """

    situation: Situation
    offset: float
    error: float
    rule_deviation: float


def similarity(one: Situation, other: Situation) -> float:
    """Return the correlation (0 to 1) of the rule's deviations in two situations.

    A product of kernels, each 1 for equals, so that any set of situations has a valid correlation matrix. The numbers
    are assumptions of this project.
    """
    size = abs(math.log10(one.parameters / other.parameters)) / PARAMETER_DECADES
    length = abs(math.log10(one.samples / other.samples)) / SAMPLE_DECADES
    return (
        _model(one, other)
        * _data(one.data, other.data)
        * _method(one, other)
        * (1.0 if one.objective == other.objective else OTHER_OBJECTIVE)
        * math.exp(-size - length)
    )


def update(prior: Belief, here: Situation, seen: Sequence[Observation]) -> tuple[Belief, tuple[float, ...]]:
    """Return the belief after observations elsewhere, and the weight of each (its share of its own offset that counts).

    Without observations the belief is the prior. One observation in the same situation moves it by
    ``rule_deviation^2 / (rule_deviation^2 + error^2)`` of the way.
    """
    if not seen:
        return prior, ()
    spread = np.array([each.rule_deviation for each in seen])
    alike = np.array([[similarity(one.situation, other.situation) for other in seen] for one in seen])
    errors = np.array([max(each.error, 1e-3) for each in seen])
    towards = prior.deviation * spread * np.array([similarity(here, each.situation) for each in seen])
    weights = np.linalg.solve(alike * np.outer(spread, spread) + np.diag(errors**2), towards)
    offset = float(weights @ np.array([each.offset for each in seen]))
    variance = max(prior.deviation**2 - float(weights @ towards), 1e-6)
    return Belief(prior.mean + offset, math.sqrt(variance)), tuple(float(weight) for weight in weights)


def _model(one: Situation, other: Situation) -> float:
    if one.model == other.model:
        return 1.0
    return SAME_FAMILY if one.family == other.family else OTHER_FAMILY


def _data(one: str, other: str) -> float:
    if one == other:
        return 1.0
    return SAME_SOURCE if _source(one) == _source(other) else OTHER_DATA


def _source(data: str) -> str:
    return data.partition("#")[0].partition("?")[0]


def _method(one: Situation, other: Situation) -> float:
    if one.method == other.method:
        return 1.0
    return SAME_METHOD_FAMILY if one.method_family == other.method_family else OTHER_METHOD
