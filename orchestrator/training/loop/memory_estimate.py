"""How much memory a trial takes, from arithmetic: an estimate before anything is loaded.

Counted are the things that grow with model and micro-batch. Per token and layer, the backward pass
keeps (width ``h``, attention heads' width ``q`` and ``kv``, feed-forward width ``f``, for a gated
feed-forward network and an attention kernel that keeps no ``length x length`` matrix):

* normalised inputs of attention and feed-forward and the two residual sums: ``4 h`` at activation width,
  and the normalisations' float32 copies: ``4 h`` at 4 bytes;
* queries, keys (before and after the rotation) and values: ``2 q + 3 kv``; attention output: ``q``;
* gate, its activation, up, and their product: ``4 f`` (two matrices: ``2 f``).

With gradient checkpointing: one ``h`` per layer, and one layer's full set while it is redone. Frozen
weights (adapters) save what only their own gradients need, about a third, which is not counted: the
estimate leans high. Not counted either: the runtime itself (CUDA context 0.3 to 0.6 GiB) and fragmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.spec.trial.optimizers import find_optimizer
from orchestrator.training.model.protocols import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GIB = 2**30

CPU_CHUNK_ELEMENTS = 2**22
"""Logits per chunk on a CPU: 16 MiB of float32, measured fastest (64 to 128 tokens at 50,000 words)."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder that decide its memory."""

    parameters: int
    layers: int
    width: int
    query_width: int
    key_value_width: int
    feed_forward_width: int
    gated: bool
    vocabulary: int

    @classmethod
    def from_config(cls, config: ModelConfig, parameters: int) -> ModelShape:
        """Read the sizes from a transformers config (names differ between architectures)."""
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        width = int(_first(config, "hidden_size", "n_embd", "d_model"))
        heads = int(_first(config, "num_attention_heads", "n_head", "n_heads"))
        head_width = int(_first(config, "head_dim", default=0) or width // heads)
        key_value_heads = int(_first(config, "num_key_value_heads", default=0) or heads)
        gated = str(_first(config, "hidden_act", "activation_function", default="gelu")) in {"silu", "swish"}
        return cls(
            parameters=parameters,
            layers=int(_first(config, "num_hidden_layers", "n_layer", "n_layers")),
            width=width,
            query_width=heads * head_width,
            key_value_width=key_value_heads * head_width,
            feed_forward_width=int(_first(config, "intermediate_size", "n_inner", "ffn_dim", default=0) or 4 * width),
            gated=gated or bool(getattr(config, "hidden_activation", None)),
            vocabulary=int(config.vocab_size),
        )

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelShape:
        """Read the sizes of a model that is loaded (or on the meta device)."""
        return cls.from_config(model.config, sum(parameter.numel() for parameter in model.parameters()))


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Memory of one trial at its peak, in GiB."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """Sum of all parts, GiB."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def estimate_memory(
    shape: ModelShape,
    trainable_parameters: int,
    settings: TrainingSettings,
    *,
    micro_batch_tokens: int,
    optimizer: str = "adamw",
    on_gpu: bool = False,
) -> MemoryEstimate:
    """Estimate the peak memory of one trial.

    Args:
        shape: Sizes of the model.
        trainable_parameters: Parameters that are trained; they, their gradients and optimizer state are float32.
        settings: Precision, checkpointing and loss chunk.
        micro_batch_tokens: Padded tokens of the largest micro-batch.
        optimizer: Its name, as in a sweep file.
        on_gpu: Whether it trains on an accelerator (decides what precision ``auto`` means).

    Raises:
        ValueError: If the optimizer is unknown or a count is negative.
    """
    state_numbers = find_optimizer(optimizer).state_numbers
    if trainable_parameters < 0 or micro_batch_tokens < 0:
        raise ValueError(f"counts must be at least 0, got {trainable_parameters} and {micro_batch_tokens}")
    half = uses_bfloat16(settings, on_gpu)
    frozen = max(shape.parameters - trainable_parameters, 0)
    weights = 4 * (shape.parameters - frozen) + (2 if half else 4) * frozen
    # Autocast keeps a bfloat16 copy of each float32 weight from the forward until the end of the backward.
    cast_copy = 2 * (shape.parameters - frozen) if half else 0
    activations = micro_batch_tokens * bytes_per_token(shape, trainable_parameters, settings, on_gpu=on_gpu)
    return MemoryEstimate(
        weights=(weights + cast_copy) / GIB,
        gradients=4 * trainable_parameters / GIB,
        optimizer=4 * state_numbers * trainable_parameters / GIB,
        activations=activations / GIB,
        logits=_logit_bytes(shape, trainable_parameters, settings, micro_batch_tokens, half, on_gpu) / GIB,
    )


def bytes_per_token(
    shape: ModelShape, trainable_parameters: int, settings: TrainingSettings, *, on_gpu: bool = False
) -> float:
    """Return the activation bytes that the backward pass keeps per padded token."""
    width_bytes = 2 if uses_bfloat16(settings, on_gpu) else 4
    heads = 3 * shape.query_width + 3 * shape.key_value_width
    feed_forward = (4 if shape.gated else 2) * shape.feed_forward_width
    layer = width_bytes * (4 * shape.width + heads + feed_forward) + 4 * 4 * shape.width
    if settings.gradient_checkpointing:
        return shape.layers * shape.width * width_bytes + layer
    return shape.layers * layer + 4 * 4 * shape.width


def uses_bfloat16(settings: TrainingSettings, on_gpu: bool) -> bool:
    """Whether matrix products run in bfloat16 (``auto``: on an accelerator)."""
    return settings.precision == "bfloat16" or (settings.precision == "auto" and on_gpu)


def _logit_bytes(
    shape: ModelShape, trainable: int, settings: TrainingSettings, tokens: int, half: bool, on_gpu: bool
) -> float:
    """One chunk of logits (and its float32 copy), and the output layer's gradient while it is summed."""
    chunk = min(settings.loss_chunk_tokens, max(tokens, 1))
    if not on_gpu:
        chunk = min(chunk, max(32, CPU_CHUNK_ELEMENTS // shape.vocabulary))
    trains_head = trainable >= shape.vocabulary * shape.width
    head_gradient = 4 * shape.vocabulary * shape.width if trains_head else 0
    return chunk * shape.vocabulary * (10 if half else 8) + head_gradient


def _first(config: ModelConfig, *names: str, default: int | str | None = None) -> int | str:
    for name in names:
        value: int | str | None = getattr(config, name, None)
        if value is not None:
            return value
    if default is None:
        raise ValueError(f"a model config must give one of {', '.join(names)}, got a {type(config).__name__} without")
    return default
