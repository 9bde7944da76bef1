"""LoRA started from components oriented by the covariance of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from orchestrator.training.methods.contract.method import MethodContext
from orchestrator.training.methods.lora.calibrated import Calibrated

if TYPE_CHECKING:
    from peft import PeftConfig


class Corda(Calibrated):
    """CorDA (Yang et al. 2024, arXiv 2406.05223)."""

    def attach(self, model: nn.Module, config: PeftConfig, context: MethodContext) -> nn.Module:
        """Let peft see the activations of the samples, then start the adapter from them."""
        from peft.tuners.lora.corda import preprocess_corda

        rows = self.calibration_rows(context)

        def run() -> None:
            with torch.no_grad():
                for row in rows:  # one row each: peft's hook squeezes the batch dimension
                    model(input_ids=row["input_ids"], attention_mask=row["attention_mask"])

        model.eval()
        preprocess_corda(model, config, run_model=run)
        return super().attach(model, config, context)
