"""LoRA with the first factor frozen and the second one's gradient projected."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.training.methods.contract.method import MethodContext
from orchestrator.training.methods.lora.preconditioned import Preconditioned, damped_inverse


class LoraFA(Preconditioned):
    """LoRA-FA (Zhang et al. 2023, arXiv 2308.03303): A stays as drawn, B's gradient is projected."""

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Wrap as lora and freeze A."""
        wrapped = super().wrap_model(model, context)
        for factor_a, _, _ in self.pairs:
            factor_a.requires_grad_(False)
        return wrapped

    @torch.no_grad()
    def precondition(self) -> None:
        """Replace B's gradient g by g (A A^T)^-1 / scaling^2, the best fit to the full gradient."""
        for factor_a, factor_b, scaling in self.pairs:
            if factor_b.grad is not None:
                inverse = damped_inverse(factor_a @ factor_a.T, 1e-8)
                factor_b.grad.copy_(factor_b.grad.to(inverse.dtype) @ inverse / scaling**2)
