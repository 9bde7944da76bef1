"""LoRA whose factors precondition each other's gradients."""

from __future__ import annotations

import torch

from orchestrator.spec.methods.lora import RiemannianOptions
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods.lora.preconditioned import Preconditioned, damped_inverse


class LoraRiemannian(Preconditioned):
    """Riemannian preconditioned LoRA (Zhang and Pilanci 2024, arXiv 2402.02347)."""

    @torch.no_grad()
    def precondition(self) -> None:
        """Replace g_A by (B^T B + damping I)^-1 g_A and g_B by g_B (A A^T + damping I)^-1."""
        damping = as_dataclass(RiemannianOptions, self.options).damping
        for factor_a, factor_b, _ in self.pairs:
            for_a = damped_inverse(factor_b.T @ factor_b, damping)
            for_b = damped_inverse(factor_a @ factor_a.T, damping)
            if factor_a.grad is not None:
                factor_a.grad.copy_(for_a @ factor_a.grad.to(for_a.dtype))
            if factor_b.grad is not None:
                factor_b.grad.copy_(factor_b.grad.to(for_b.dtype) @ for_b)
