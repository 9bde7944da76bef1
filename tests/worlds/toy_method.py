"""A method of one file: its options, its class and its entry. Used to show that nothing else is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from orchestrator.settings.data import about
from orchestrator.spec.methods.entry import MethodEntry
from orchestrator.spec.options.declared import as_dataclass
from orchestrator.training.methods import Method, MethodContext


@dataclass(frozen=True)
class OneMatrixOptions:
    """What is trained."""

    kind: Literal["query", "down"] = field(default="query", metadata=about("Which matrix."))
    block: int = field(default=0, metadata=about("Of which block.", ge=0, le=99))


class OneMatrix(Method):
    """One matrix of one block trains."""

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Freeze everything else."""
        own = as_dataclass(OneMatrixOptions, self.options)
        model.requires_grad_(False)
        place = {"query": "self_attn.q_proj", "down": "mlp.down_proj"}[own.kind]
        model.get_submodule(f"model.layers.{own.block}.{place}").requires_grad_(True)
        return model


ENTRY = MethodEntry(
    "weights",
    "one matrix",
    1e-4,
    "assumed from full",
    options=OneMatrixOptions,
    exclusive=("kind", "block"),
    implementation=f"{__name__}:OneMatrix",
)
