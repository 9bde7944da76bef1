"""Computing activations again in the backward pass, under the name that the installed transformers has for it."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

# Re-entrant checkpointing needs inputs that require gradients, which the embeddings of a frozen base do not give.
_TORCH_OPTIONS = {"use_reentrant": False}


def enable_activation_checkpointing(model: nn.Module) -> None:
    """Let a model of transformers (or peft's wrapper of one) redo every layer's activations instead of keeping them.

    transformers 5.23 calls it ``activation_checkpointing_enable`` and warns of the older name; 5.17 has that one alone.
    """
    newer: Callable[..., None] | None = getattr(model, "activation_checkpointing_enable", None)
    if newer is not None:
        newer(activation_checkpointing_kwargs=_TORCH_OPTIONS)
        return
    older: Callable[..., None] = getattr(model, "gradient_checkpointing_enable")  # noqa: B009
    older(gradient_checkpointing_kwargs=_TORCH_OPTIONS)
