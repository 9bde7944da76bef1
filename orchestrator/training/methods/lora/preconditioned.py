"""LoRA whose gradients are changed before AdamW's step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from orchestrator.records import TrialConfig
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.contract.method import MethodContext, ParameterGroup

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

Pair = tuple[Tensor, Tensor, float]
"""lora_A (r, inputs), lora_B (outputs, r) and the layer's scaling."""


class PreconditionedAdamW(AdamW):
    """AdamW whose gradients are changed in place first; the change itself has no state."""

    def __init__(self, groups: list[ParameterGroup], precondition: Callable[[], None], config: TrialConfig) -> None:
        betas = (config.beta1, config.beta2)
        super().__init__(groups, lr=config.learning_rate, betas=betas, eps=config.epsilon)
        self._precondition = precondition

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Precondition, then take AdamW's step; closures are not supported (they would undo the former)."""
        if closure is not None:
            raise ValueError("a preconditioned optimizer takes no closure")
        self._precondition()
        loss: float | None = super().step()
        return loss


class Preconditioned(PeftMethod):
    """LoRA whose gradients are preconditioned by the other factor."""

    def __init__(self, name: str, options: Mapping[str, object] | None = None) -> None:
        super().__init__(name, options)
        self.pairs: list[Pair] = []

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Wrap as lora and remember the pairs of factors."""
        wrapped = super().wrap_model(model, context)
        self.pairs = lora_pairs(wrapped)
        return wrapped

    def optimizer(self, groups: list[ParameterGroup], config: TrialConfig) -> Optimizer:
        """Return AdamW with the trial's settings behind the preconditioner."""
        scaled = [{**group, "lr": config.learning_rate * group["learning_rate_scale"]} for group in groups]
        return PreconditionedAdamW(scaled, self.precondition, config)

    def precondition(self) -> None:
        """Change the gradients in place."""
        raise NotImplementedError


def lora_pairs(model: nn.Module) -> list[Pair]:
    """Return the factors of every lora layer with both."""
    layers: list[LoraLayer] = [
        module for module in model.modules() if hasattr(module, "lora_A") and hasattr(module, "scaling")
    ]
    return [
        (layer.lora_A["default"].weight, layer.lora_B["default"].weight, float(layer.scaling["default"]))
        for layer in layers
        if "default" in layer.lora_A and "default" in layer.lora_B
    ]


def damped_inverse(matrix: Tensor, damping: float) -> Tensor:
    """Return (matrix + damping I)^-1 of a symmetric (r, r) matrix, at least in float32; pseudo-inverse if singular."""
    wide = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    inverse: Tensor = torch.linalg.pinv(wide + damping * torch.eye(wide.shape[0], device=wide.device, dtype=wide.dtype))
    return inverse
