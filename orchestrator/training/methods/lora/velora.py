"""LoRA with compressed activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import ADAPTER, EXTRA, PeftMethod

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer


class Velora(PeftMethod):
    """VeLoRA: the backward of the first factor sees compressed activations."""

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return which layers have set their projection from data (matters for ``batch_average_once``)."""
        return {
            f"{EXTRA}{name}": torch.tensor(bool(module.lora_velora_initialized[ADAPTER]))
            for name, module in _velora_layers(model)
        }

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the flags back."""
        for name, module in _velora_layers(model):
            module.lora_velora_initialized[ADAPTER] = bool(state[name])


def _velora_layers(model: nn.Module) -> list[tuple[str, LoraLayer]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if ADAPTER in getattr(module, "lora_velora_initialized", {})
    ]
