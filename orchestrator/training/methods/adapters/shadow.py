"""A small network beside the frozen model."""

from __future__ import annotations

from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import ADAPTER, tuner_of
from orchestrator.training.methods.adapters.whole_model import WholeModel
from orchestrator.training.methods.contract.method import Batch


class Shadow(WholeModel):
    """Shadow network; the auxiliary term trains the network's own prediction."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the cross-entropy of the shadow path alone (token mean), weighted as in peft's forward."""
        tuner = tuner_of(model)
        loss = tuner.shadow_auxiliary_loss(batch["labels"], attention_mask=batch.get("attention_mask"))
        weight: float = tuner.peft_config[ADAPTER].auxiliary_loss_weight
        return weight * loss if loss is not None and weight > 0 else None
