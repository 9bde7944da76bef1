"""The lowest blocks stay as they are."""

from __future__ import annotations

from torch import nn

from orchestrator.errors import SpecError
from orchestrator.spec.methods.weights import FreezeLowerOptions
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods.contract.method import Method, MethodContext
from orchestrator.training.methods.contract.structure import decoder_blocks, embedding_parameters


class FreezeLower(Method):
    """Embeddings and the lowest blocks frozen (arXiv 2112.07869); the backward stops above them.

    Options: ``layers`` (count) or ``share`` (of all blocks, rounded). An output layer tied to the
    embeddings is frozen with them.
    """

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Freeze; frozen parameters never get a gradient.

        Raises:
            SpecError: If ``layers`` exceeds the model's depth.
        """
        blocks = decoder_blocks(model)
        count = self._count(len(blocks))
        model.requires_grad_(True)
        for parameter in embedding_parameters(model):
            parameter.requires_grad_(False)
        for block in list(blocks)[:count]:
            block.requires_grad_(False)
        return model

    def _count(self, depth: int) -> int:
        own = as_dataclass(FreezeLowerOptions, self.options)
        if own.layers is None:
            return round((own.share or 0.0) * depth)
        if own.layers > depth:
            rule = f"must be at most {depth}, the model's number of blocks"
            raise SpecError("", "freeze_lower.layers", own.layers, rule)
        return own.layers
