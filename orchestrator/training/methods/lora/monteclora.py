"""LoRA with sampled factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import EXTRA, PeftMethod, tuner_of, under
from orchestrator.training.methods.contract.method import Batch

if TYPE_CHECKING:
    from peft.tuners.lora.monteclora import BufferedMontecloraSampler


class MonteCLora(PeftMethod):
    """MonteCLoRA: samples factors around lora's; adds the variational term that peft leaves to the caller."""

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the Kullback-Leibler (and entropy) term, mean over layers."""
        loss = tuner_of(model)._get_monteclora_loss()
        return loss if isinstance(loss, Tensor) else None

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return each layer's samples that were drawn ahead and not used yet."""
        state = {}
        for name, sampler in _buffered_samplers(model):
            state[f"{EXTRA}{name}/index"] = torch.tensor(sampler.index)
            for position in range(sampler.index, sampler.buffer_size):
                for key, tensor in sampler.buffer[position].items():
                    state[f"{EXTRA}{name}/{position}/{key}"] = tensor
        return state

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the unused samples back."""
        for name, sampler in _buffered_samplers(model):
            entries = dict(under(state, name))
            sampler.index = int(entries.pop("index"))
            for key, tensor in entries.items():
                position, _, part = key.partition("/")
                sampler.buffer[int(position)][part].copy_(tensor)


def _buffered_samplers(model: nn.Module) -> list[tuple[str, BufferedMontecloraSampler]]:
    found = ((name, getattr(module, "sampler", None)) for name, module in model.named_modules())
    return [(name, sampler) for name, sampler in found if type(sampler).__name__ == "BufferedMontecloraSampler"]
