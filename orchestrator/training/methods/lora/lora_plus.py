"""LoRA whose second factor learns faster."""

from __future__ import annotations

from torch import nn

from orchestrator.spec.methods.lora import LoraPlusOptions
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.contract.method import ParameterGroup, decay_groups, trainable_parameters


class LoraPlus(PeftMethod):
    """LoRA+ (Hayou et al. 2024, arXiv 2402.12354): B learns ``learning_rate_ratio`` times as fast as A."""

    def param_groups(self, model: nn.Module, learning_rate: float, weight_decay: float) -> list[ParameterGroup]:
        """Return the groups of A and all else at scale 1, and of B and vectors at the ratio."""
        every = trainable_parameters(model)
        fast = {name for name, parameter in every.items() if "lora_B" in name or parameter.ndim == 1}
        slow_part = {name: parameter for name, parameter in every.items() if name not in fast}
        fast_part = {name: parameter for name, parameter in every.items() if name in fast}
        ratio = as_dataclass(LoraPlusOptions, self.options).learning_rate_ratio
        return [*decay_groups(model, slow_part, weight_decay), *decay_groups(model, fast_part, weight_decay, ratio)]
