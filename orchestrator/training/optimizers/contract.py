"""What an optimizer is to the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from orchestrator.records import Scalar, TrialConfig
from orchestrator.training.methods.contract.method import ParameterGroup


class BuildOptimizer(Protocol):
    """Builds the optimizer of one trial.

    All that must survive saving and resuming stands in the optimizer's `state_dict`, as tensors, numbers and texts.
    `torch.optim.Optimizer.load_state_dict` casts a parameter's state tensors, all but ``step``, to the parameter's dtype: masks
    and indices do not belong there. The loop sets ``lr`` of every group before each step.
    """

    def __call__(
        self, model: nn.Module, groups: list[ParameterGroup], config: TrialConfig, options: Mapping[str, Scalar]
    ) -> Optimizer:
        """Return the optimizer.

        Args:
            model: The model, for optimizers that treat its layers differently.
            groups: Every trainable parameter exactly once, with weight decay and ``learning_rate_scale``; they are to
                be the optimizer's groups, or to be split further with their other values kept.
            config: The trial: rate, betas, epsilon.
            options: The optimizer's own options, none missing.
        """
        ...
