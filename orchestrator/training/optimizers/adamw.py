"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import AdamW, Optimizer

from orchestrator.records import Scalar, TrialConfig
from orchestrator.training.methods.contract.method import ParameterGroup


def build_adamw(
    model: nn.Module, groups: list[ParameterGroup], config: TrialConfig, options: Mapping[str, Scalar]
) -> Optimizer:
    """Return torch's AdamW, with its fused kernel where the parameters are real numbers."""
    fused = all(parameter.is_floating_point() for group in groups for parameter in group["params"])
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=fused)
