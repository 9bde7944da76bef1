"""LoRA started from the gradients of the base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from orchestrator.training.methods.contract.method import MethodContext
from orchestrator.training.methods.lora.calibrated import Calibrated

if TYPE_CHECKING:
    from peft import PeftConfig


class LoraGa(Calibrated):
    """LoRA-GA (Wang et al. 2024, arXiv 2407.05000)."""

    def attach(self, model: nn.Module, config: PeftConfig, context: MethodContext) -> nn.Module:
        """Let peft see the gradients of the samples, then start the adapter from them."""
        from peft.tuners.lora.loraga import preprocess_loraga

        rows = self.calibration_rows(context)

        def run() -> None:
            for row in rows:
                model(**row).loss.backward()

        model.requires_grad_(True)
        preprocess_loraga(model, config, run)
        model.zero_grad(set_to_none=True)
        return super().attach(model, config, context)
