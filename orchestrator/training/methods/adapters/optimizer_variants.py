"""LoRA with other optimizers: LoRA+, LoRA-FA and Riemannian preconditioning, as one AdamW and groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from orchestrator.records import TrialConfig
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.contract.method import (
    MethodContext,
    ParameterGroup,
    decay_groups,
    trainable_parameters,
)

Pair = tuple[Any, Any, float]
"""lora_A (r, inputs), lora_B (outputs, r) and the layer's scaling."""


class LoraPlus(PeftMethod):
    """LoRA+ (Hayou et al. 2024, arXiv 2402.12354): B learns ``learning_rate_ratio`` times as fast as A."""

    def param_groups(self, model: nn.Module, learning_rate: float, weight_decay: float) -> list[ParameterGroup]:
        """Return the groups of A and all else at scale 1, and of B and vectors at the ratio."""
        every = trainable_parameters(model)
        fast = {name for name, parameter in every.items() if "lora_B" in name or parameter.ndim == 1}
        slow_part = {name: parameter for name, parameter in every.items() if name not in fast}
        fast_part = {name: parameter for name, parameter in every.items() if name in fast}
        ratio = float(self.options["learning_rate_ratio"])
        return [*decay_groups(model, slow_part, weight_decay), *decay_groups(model, fast_part, weight_decay, ratio)]


class PreconditionedAdamW(AdamW):
    """AdamW whose gradients are changed in place first; the change itself has no state."""

    def __init__(self, groups: list[ParameterGroup], precondition: Callable[[], None], **arguments: Any) -> None:
        super().__init__(groups, **arguments)
        self._precondition = precondition

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Precondition, then take AdamW's step; closures are not supported (they would undo the former)."""
        if closure is not None:
            raise ValueError("a preconditioned optimizer takes no closure")
        self._precondition()
        return super().step()


class _Preconditioned(PeftMethod):
    """LoRA whose gradients are preconditioned by the other factor."""

    def __init__(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, options)
        self._pairs: list[Pair] = []

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Wrap as lora and remember the pairs of factors."""
        wrapped = super().wrap_model(model, context)
        self._pairs = lora_pairs(wrapped)
        return wrapped

    def optimizer(self, groups: list[ParameterGroup], config: TrialConfig) -> Optimizer:
        """Return AdamW with the trial's settings behind the preconditioner."""
        scaled = [{**group, "lr": config.learning_rate * group["learning_rate_scale"]} for group in groups]
        betas = (config.beta1, config.beta2)
        return PreconditionedAdamW(scaled, self.precondition, lr=config.learning_rate, betas=betas, eps=config.epsilon)

    def precondition(self) -> None:
        """Change the gradients in place."""
        raise NotImplementedError


class LoraFA(_Preconditioned):
    """LoRA-FA (Zhang et al. 2023, arXiv 2308.03303): A stays as drawn, B's gradient is projected."""

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Wrap as lora and freeze A."""
        wrapped = super().wrap_model(model, context)
        for factor_a, _, _ in self._pairs:
            factor_a.requires_grad_(False)
        return wrapped

    @torch.no_grad()
    def precondition(self) -> None:
        """Replace B's gradient g by g (A A^T)^-1 / scaling^2, the best fit to the full gradient."""
        for factor_a, factor_b, scaling in self._pairs:
            if factor_b.grad is not None:
                inverse = damped_inverse(factor_a @ factor_a.T, 1e-8)
                factor_b.grad.copy_(factor_b.grad.to(inverse.dtype) @ inverse / scaling**2)


class LoraRiemannian(_Preconditioned):
    """Riemannian preconditioned LoRA (Zhang and Pilanci 2024, arXiv 2402.02347)."""

    @torch.no_grad()
    def precondition(self) -> None:
        """Replace g_A by (B^T B + damping I)^-1 g_A and g_B by g_B (A A^T + damping I)^-1."""
        damping = float(self.options["damping"])
        for factor_a, factor_b, _ in self._pairs:
            for_a = damped_inverse(factor_b.T @ factor_b, damping)
            for_b = damped_inverse(factor_a @ factor_a.T, damping)
            if factor_a.grad is not None:
                factor_a.grad.copy_(for_a @ factor_a.grad.to(for_a.dtype))
            if factor_b.grad is not None:
                factor_b.grad.copy_(factor_b.grad.to(for_b.dtype) @ for_b)


def lora_pairs(model: nn.Module) -> list[Pair]:
    """Return the factors of every lora layer with both."""
    layers: list[Any] = [
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
