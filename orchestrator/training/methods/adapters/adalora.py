"""LoRA in the form of an SVD whose rank is pruned while training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import ADAPTER, EXTRA, PeftMethod, tuner_of, under
from orchestrator.training.methods.contract.method import Batch


class AdaLora(PeftMethod):
    """AdaLoRA (Zhang et al. 2023, arXiv 2303.10512): prunes singular values on a cubic budget schedule."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the orthogonality term of equation 7, mean over factors, as peft adds it to the loss."""
        terms = [
            torch.linalg.matrix_norm(_gram(name, parameter) - torch.eye(min(parameter.shape), device=parameter.device))
            for name, parameter in model.named_parameters()
            if ("lora_A" in name or "lora_B" in name) and ADAPTER in name
        ]
        weight: float = tuner_of(model).peft_config[ADAPTER].orth_reg_weight
        return weight * torch.stack(terms).mean() if terms else None

    def on_step(self, model: nn.Module, step: int) -> None:
        """Update importances from the gradients and mask what the budget of this step excludes."""
        tuner_of(model).update_and_allocate(step)

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the importance averages and, once final, the kept ranks."""
        allocator = tuner_of(model).rankallocator
        averages = {
            f"{EXTRA}{kind}/{name}": tensor
            for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc")
            for name, tensor in getattr(allocator, kind).items()
        }
        pattern = tuner_of(model).peft_config[ADAPTER].rank_pattern or {}
        kept = {f"{EXTRA}rank_pattern/{name}": torch.tensor(ranks, dtype=torch.bool) for name, ranks in pattern.items()}
        return {**averages, **kept}

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the allocator back as it was."""
        allocator = tuner_of(model).rankallocator
        device = next(model.parameters()).device
        for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
            setattr(allocator, kind, {name: tensor.to(device) for name, tensor in under(state, kind)})
        pattern = {name: tensor.tolist() for name, tensor in under(state, "rank_pattern")}
        tuner_of(model).peft_config[ADAPTER].rank_pattern = pattern or None


def _gram(name: str, factor: Tensor) -> Tensor:
    return factor @ factor.T if "lora_A" in name else factor.T @ factor
