"""From a method's parameter groups to an optimizer, and the learning rate set before each step."""

from __future__ import annotations

from collections import Counter
from typing import cast

from torch import nn
from torch.optim import Optimizer

from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.lazy_names import load
from orchestrator.records import TrialConfig
from orchestrator.spec.trial.optimizers import find_optimizer, optimizer_options
from orchestrator.training.methods.contract.method import Method, ParameterGroup
from orchestrator.training.optimizers.contract import BuildOptimizer

METHODS_OWN = "adamw"
"""The optimizer that methods with one of their own change."""


def make_optimizer(method: Method, model: nn.Module, config: TrialConfig) -> Optimizer:
    """Build the optimizer of a trial: the method's own, else the one that the configuration names.

    Norms and biases get no weight decay and everything else (embeddings too) does, as in
    ``transformers.Trainer``; a method may choose otherwise in its ``param_groups``.

    Raises:
        SpecError: If ``config.optimizer`` is unknown, or the method brings its own.
        OrchestratorError: If the method's groups do not hold every trainable parameter exactly once.
    """
    build = _builder(config.optimizer)
    groups = method.param_groups(model, config.learning_rate, config.weight_decay)
    _check_groups(method, model, groups)
    own = method.optimizer(groups, config)
    if own is None:
        return build(model, groups, config, optimizer_options(config))
    if config.optimizer != METHODS_OWN:
        rule = f"method {method.name!r} brings an optimizer of its own, a changed {METHODS_OWN}"
        raise SpecError("trial", "optimizer", config.optimizer, rule, f"train it with {METHODS_OWN}")
    return own


def _builder(name: str) -> BuildOptimizer:
    return cast(BuildOptimizer, load(find_optimizer(name).build))


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set every group's learning rate to ``learning_rate`` times the group's ``learning_rate_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("learning_rate_scale", 1.0)


def trainable(optimizer: Optimizer) -> list[nn.Parameter]:
    """Return all parameters of an optimizer, in the order of its groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _check_groups(method: Method, model: nn.Module, groups: list[ParameterGroup]) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    counts = Counter(id(parameter) for group in groups for parameter in group["params"])
    wrong = sorted(name for key, name in names.items() if counts[key] != 1)
    if wrong or counts.keys() - names.keys():
        raise OrchestratorError(
            f"method {method.name!r} must put every trainable parameter into exactly one group; "
            f"{len(wrong)} are missing or doubled {wrong[:3]}, {len(counts.keys() - names.keys())} are not trainable"
        )
    if not names:
        raise OrchestratorError(f"method {method.name!r} trains nothing: no parameter requires a gradient")
