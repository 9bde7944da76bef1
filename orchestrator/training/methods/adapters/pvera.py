"""Probabilistic VeRA."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from orchestrator.training.methods.adapters.peft_adapter import ADAPTER, EXTRA, PeftMethod


class Pvera(PeftMethod):
    """PVeRA: samples while training; a generator of its own (option ``generator_seed``) is state."""

    def extra_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the state of each layer's own generator, where it has one."""
        return {f"{EXTRA}{name}": generator.get_state() for name, generator in _own_generators(model)}

    def load_extra_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put the generators back."""
        for name, generator in _own_generators(model):
            generator.set_state(state[name].cpu())


def _own_generators(model: nn.Module) -> list[tuple[str, torch.Generator]]:
    found = ((name, getattr(module, "pvera_generator", {}).get(ADAPTER)) for name, module in model.named_modules())
    return [(name, generator) for name, generator in found if generator is not None]
