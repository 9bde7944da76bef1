"""Sizes that peft wants given but that depend on the model: chosen here when the user gives none.

One small function per config class: it reads the options and the targeted linear layers and returns
what to add. Nothing here overrides a value that was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from orchestrator.errors import ModelError
from orchestrator.training.methods.contract.method import MethodContext
from orchestrator.training.methods.contract.structure import Linear, common_divisor, largest_divisor, role_modules
from orchestrator.training.model.protocols import ModelConfig

Options = dict[str, object]


@dataclass(frozen=True)
class Fit:
    """What a size may depend on; ``layers`` are the targeted linear layers."""

    options: Mapping[str, object]
    layers: list[Linear]
    model: nn.Module
    context: MethodContext

    def nested(self, name: str) -> Mapping[str, object]:
        """Return an option that is a mapping; empty where it is none."""
        value = self.options.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def inputs(self) -> int:
        """Greatest common divisor of the input sizes."""
        return common_divisor(layer.inputs for layer in self.layers)

    @property
    def outputs(self) -> int:
        """Greatest common divisor of the output sizes."""
        return common_divisor(layer.outputs for layer in self.layers)

    @property
    def both(self) -> int:
        """Greatest common divisor of all sizes."""
        return common_divisor((self.inputs, self.outputs))

    @property
    def smallest(self) -> int:
        """Smallest side of any targeted layer, the largest rank that makes sense everywhere."""
        return min(min(layer.inputs, layer.outputs) for layer in self.layers)

    @property
    def hidden(self) -> int:
        """Hidden size of the model."""
        return int(getattr(self.model.config, "hidden_size"))  # noqa: B009

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return int(getattr(self.model.config, "num_hidden_layers"))  # noqa: B009


def _adalora(fit: Fit) -> Options:
    """AdaLoRA paper, section 4: pruning from about 10 % of training, the last third at the final rank."""
    steps = max(1, fit.context.steps)
    return {"total_step": steps, "tinit": steps // 10, "tfinal": steps // 3, "deltaT": max(1, steps // 100)}


def _block_size(fit: Fit) -> Options:
    return {"block_size": largest_divisor(fit.both, 256)}


def _boft(fit: Fit) -> Options:
    if fit.options.get("boft_block_num"):
        return {"boft_block_size": 0}
    return {"boft_block_size": largest_divisor(fit.inputs, 4, 2)}


def _oft(fit: Fit) -> Options:
    if fit.options.get("r"):
        return {"oft_block_size": 0}
    return {"r": 0, "oft_block_size": largest_divisor(fit.inputs, 32, 2)}


def _cpt(fit: Fit) -> Options:
    """Context tokens: given ids, else random words of the vocabulary; all as template tokens (type 1)."""
    given_ids = fit.options.get("cpt_token_ids")
    ids = given_ids if isinstance(given_ids, list | tuple) and given_ids else _sampled_tokens(fit, 16)
    given = {"cpt_token_ids": ids, "cpt_mask": [1] * len(ids), "cpt_tokens_type_mask": [1] * len(ids)}
    return {**given, "num_virtual_tokens": len(ids)}


def _sampled_tokens(fit: Fit, count: int) -> list[int]:
    import numpy as np

    vocabulary = int(getattr(fit.model.config, "vocab_size"))  # noqa: B009
    generator = np.random.default_rng(fit.context.seed)
    return [int(token) for token in generator.integers(0, vocabulary, size=count)]


def _trainable_tokens(fit: Fit) -> Options:
    config: ModelConfig = getattr(fit.model, "config")  # noqa: B009
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    tokens = {token for token in [config.bos_token_id, *ends] if isinstance(token, int)}
    tokens = {token for token in tokens if 0 <= token < config.vocab_size}
    if not tokens:
        raise ModelError(
            "model", "trainable_tokens.token_indices", None, "the model names no begin or end token", "give them"
        )
    return {"token_indices": sorted(tokens)}


def _bdlora(fit: Fit) -> Options:
    rows = role_modules(fit.model, ["output", "down"])
    names = sorted({layer.name.rpartition(".")[2] for layer in fit.layers})
    split = {
        "target_modules_bd_a": [name for name in names if name in rows],
        "target_modules_bd_b": [name for name in names if name not in rows],
        "nblocks": 2,
    }
    return {"use_bdlora": {**split, **fit.nested("use_bdlora")}}


def _velora(fit: Fit) -> Options:
    return {"velora_config": {"num_groups": largest_divisor(fit.inputs, 64), **fit.nested("velora_config")}}


def _lora(fit: Fit) -> Options:
    special: dict[str, Callable[[Fit], Options]] = {"use_bdlora": _bdlora, "velora_config": _velora}
    return {key: value for name, sizes in special.items() if name in fit.options for key, value in sizes(fit).items()}


def _prefix(fit: Fit) -> Options:
    return {"encoder_hidden_size": fit.hidden} if fit.options.get("prefix_projection") else {}


def _coefficients(limit: int) -> Callable[[Fit], Options]:
    def sizes(fit: Fit) -> Options:
        return {"n_frequency": min(limit, min(layer.inputs * layer.outputs for layer in fit.layers) // 2)}

    return sizes


def _rank(limit: int) -> Callable[[Fit], Options]:
    return lambda fit: {"r": min(limit, fit.smallest)}


SIZES: dict[str, Callable[[Fit], Options]] = {
    "AdaLoraConfig": _adalora,
    "AdamssConfig": _rank(100),
    "AdaptionPromptConfig": lambda fit: {"adapter_layers": fit.depth if fit.depth <= 4 else fit.depth - 2},
    "BOFTConfig": _boft,
    "C3AConfig": _block_size,
    "CPTConfig": _cpt,
    "FourierFTConfig": _coefficients(1000),
    "IA3Config": lambda fit: {"feedforward_modules": role_modules(fit.model, ["down"])},
    "LoraConfig": _lora,
    "MissConfig": lambda fit: {"r": largest_divisor(fit.both, 64)},
    "OFTConfig": _oft,
    "PrefixTuningConfig": _prefix,
    "PromptEncoderConfig": lambda fit: {"encoder_hidden_size": fit.hidden},
    "PsoftConfig": _rank(32),
    "PveraConfig": _rank(256),
    "RandLoraConfig": _rank(32),
    "RoadConfig": lambda fit: {"group_size": largest_divisor(fit.outputs, 64, 2)},
    "ShiraConfig": lambda fit: {"random_seed": fit.context.seed},
    "TrainableTokensConfig": lambda fit: {} if fit.options.get("token_indices") else _trainable_tokens(fit),
    "VBLoRAConfig": lambda fit: {"vector_length": largest_divisor(fit.both, 256)},
    "VeraConfig": _rank(256),
    "WaveFTConfig": _coefficients(2592),
}
"""peft config class to the function that completes its options."""


def chosen_sizes(fit: Fit, config: str) -> Options:
    """Return the sizes that this peft config wants and that depend on the model."""
    return SIZES[config](fit) if config in SIZES else {}


def completed(options: Mapping[str, object], chosen: Options) -> Options:
    """Return the options over the chosen sizes: what the user gave stays."""
    nested = {name for name in chosen if isinstance(chosen[name], dict)}
    given = {name: value for name, value in options.items() if value is not None and name not in nested}
    return {**chosen, **given}
