"""From a method's parameter groups to an optimizer, and the learning rate set before each step."""

from __future__ import annotations

from collections import Counter

from torch import nn
from torch.optim import AdamW, Optimizer

from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.records import TrialConfig
from orchestrator.training.methods.contract.method import Method, ParameterGroup

OPTIMIZERS = ("adamw",)


def make_optimizer(method: Method, model: nn.Module, config: TrialConfig) -> Optimizer:
    """Build the optimizer of a trial: the method's own, else AdamW (decoupled decay; fused kernel).

    Norms and biases get no weight decay and everything else (embeddings too) does, as in
    ``transformers.Trainer``; a method may choose otherwise in its ``param_groups``.

    Raises:
        SpecError: If ``config.optimizer`` is unknown.
        OrchestratorError: If the method's groups do not hold every trainable parameter exactly once.
    """
    if config.optimizer not in OPTIMIZERS:
        raise SpecError("trial", "optimizer", config.optimizer, f"must be one of {', '.join(OPTIMIZERS)}")
    groups = method.param_groups(model, config.learning_rate, config.weight_decay)
    _check_groups(method, model, groups)
    own = method.optimizer(groups, config)
    if own is not None:
        return own
    fused = all(parameter.is_floating_point() for group in groups for parameter in group["params"])
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=fused)


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
