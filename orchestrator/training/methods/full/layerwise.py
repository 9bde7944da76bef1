"""Layer-wise learning-rate decay."""

from __future__ import annotations

from torch import Tensor, nn

from orchestrator.spec.methods.weights import LayerwiseDecayOptions
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods.contract.method import Method, ParameterGroup, decay_groups, trainable_parameters
from orchestrator.training.methods.contract.structure import decoder_blocks, embedding_parameters


class LayerwiseDecay(Method):
    """``llrd``: full fine-tuning with learning rates that fall geometrically towards the input.

    Block l of L (from the input) is scaled by d^(L-1-l), embeddings by d^L, final norm and output layer
    by 1, where d is the option ``decay``; d = 1 is full fine-tuning. An output layer tied to the
    embeddings counts as embeddings. Source: arXiv 2112.07869 (and earlier ULMFiT, ELECTRA).
    """

    def param_groups(self, model: nn.Module, learning_rate: float, weight_decay: float) -> list[ParameterGroup]:
        """Return one pair of groups (with and without weight decay) per distinct scale."""
        scales = self._scales(model)
        by_scale: dict[float, dict[str, Tensor]] = {}
        for name, parameter in trainable_parameters(model).items():
            by_scale.setdefault(scales.get(id(parameter), 1.0), {})[name] = parameter
        return [
            group
            for scale, parameters in by_scale.items()
            for group in decay_groups(model, parameters, weight_decay, scale)
        ]

    def _scales(self, model: nn.Module) -> dict[int, float]:
        decay = as_dataclass(LayerwiseDecayOptions, self.options).decay
        blocks = decoder_blocks(model)
        scales = {
            id(parameter): decay ** (len(blocks) - 1 - depth)
            for depth, block in enumerate(blocks)
            for parameter in block.parameters()
        }
        return {**scales, **{id(parameter): decay ** len(blocks) for parameter in embedding_parameters(model)}}
