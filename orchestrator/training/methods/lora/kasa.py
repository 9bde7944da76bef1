"""Singular-value adaptation."""

from __future__ import annotations

from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import PeftMethod, tuner_of
from orchestrator.training.methods.contract.method import Batch


class Kasa(PeftMethod):
    """KaSA (arXiv 2412.06071): adds the L2 and orthogonality terms that peft leaves to the caller."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return equations 9 to 12 of the paper, summed over layers, weighted by beta and gamma."""
        loss = tuner_of(model)._get_kasa_loss()
        return loss if isinstance(loss, Tensor) else None
