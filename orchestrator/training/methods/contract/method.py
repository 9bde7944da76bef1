"""The hooks of a fine-tuning method, each with a neutral default that means full fine-tuning.

The training loop knows nothing about methods: it calls these hooks in the order below and a method
overrides those it needs. A `Method` object belongs to one trial (it may keep state); it is built by
`orchestrator.training.methods.build_method`.

Life of a trial::

    wrap_model                      once, on a copy of the base model that the method may change
    param_groups, optimizer         once, after wrapping
    transform_batch                 before each forward; the generator depends on seed and step alone
    forward_kwargs, auxiliary_loss  around each forward of a micro-batch
    on_step                         after ``optimizer.step()``, before ``zero_grad()``
    on_epoch                        after the last step that touches an epoch
    trainable_state                 at checkpoints
    finalize                        once, after the last step, before export
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.errors import CheckpointError
from orchestrator.records import TrialConfig
from orchestrator.training.model.protocols import Tokenizer

Batch = Mapping[str, Tensor]
"""``input_ids``, ``attention_mask`` and ``labels``, each of shape (rows, length).

``labels`` equal ``input_ids`` where a token is learned and -100 elsewhere (not shifted).
"""

ParameterGroup = dict[str, Any]
"""``params`` (list of parameters), ``learning_rate_scale`` (float), ``weight_decay`` (float)."""

NO_DECAY_NAMES = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)
"""Parameter names without weight decay, as in transformers.Trainer.get_decay_parameter_names."""


@dataclass(frozen=True)
class MethodContext:
    """What a method may know about its trial when it wraps the model.

    Attributes:
        steps: Optimizer steps of the whole trial.
        seed: Seed of the trial; the same seed gives the same adapter.
        effective_batch_size: Samples per optimizer step.
        pad_token_id: Padding token.
        tokenizer: The tokenizer, for methods whose prompts are text; may be None.
        calibration_batches: For methods with ``needs_calibration``: called with a number of samples,
            gives batches of one row each (on the model's device) from the start of the training stream.
    """

    steps: int
    seed: int = 0
    effective_batch_size: int = 1
    pad_token_id: int = 0
    tokenizer: Tokenizer | None = None
    calibration_batches: Callable[[int], Iterable[Batch]] | None = None


class Method:
    """Full fine-tuning, and the base class of every other method.

    Class attributes:
        uses_full_logits: The loop must call the whole model and take the last ``length`` positions of
            its logits; otherwise it may call the decoder and apply the output layer in chunks.
        allows_packing: Several samples may share one row (per-document positions and attention).
            Where False, every sample needs a row of its own and an ``attention_mask``; positions
            must then be left to the model.
        needs_calibration: `wrap_model` needs ``context.calibration_batches``.
    """

    uses_full_logits: bool = False
    allows_packing: bool = True
    needs_calibration: bool = False

    def __init__(self, name: str = "full", options: Mapping[str, object] | None = None) -> None:
        self.name = name
        self.options: dict[str, object] = dict(options or {})

    # -- before training ---------------------------------------------------------------------------

    def wrap_model(self, model: nn.Module, context: MethodContext) -> nn.Module:
        """Turn a base model into the model that is trained; ``requires_grad`` says what trains.

        Args:
            model: A causal language model of its own for this trial; it may be changed in place.
            context: What is known about the trial.

        Returns:
            The model to train; may or may not be the one given.

        Raises:
            InputError: If the method does not fit the model.
        """
        model.requires_grad_(True)
        return model

    def param_groups(self, model: nn.Module, learning_rate: float, weight_decay: float) -> list[ParameterGroup]:
        """Return every trainable parameter exactly once, with its learning-rate scale and weight decay.

        The effective learning rate of a group is the scheduled one times ``learning_rate_scale``.
        The default gives norms and biases no weight decay (as transformers.Trainer does).
        """
        return decay_groups(model, trainable_parameters(model), weight_decay)

    def optimizer(self, groups: list[ParameterGroup], config: TrialConfig) -> Optimizer | None:
        """Return an optimizer over ``groups`` with their keys kept, or None for the loop's own AdamW.

        The loop sets ``group["lr"]`` of each parameter group before each step.
        """
        return None

    # -- each step ---------------------------------------------------------------------------------

    def transform_batch(self, batch: Batch, step: int, generator: torch.Generator) -> Batch:
        """Return the micro-batch to train on (masked, noised, ...); must not change ``batch`` in place."""
        return batch

    def forward_kwargs(self, batch: Batch) -> dict[str, Tensor]:
        """Return further keyword arguments of the model's forward and of ``generate`` for these rows."""
        return {}

    def auxiliary_loss(self, model: nn.Module, batch: Batch, step: int) -> Tensor | None:
        """Return the method's own loss term (0-dimensional), or None.

        Called in training mode after the forward of the same micro-batch and before its backward. The
        value is mean-like: the loop adds it weighted with the micro-batch's share of the answer tokens
        of the effective batch, so that the total does not depend on the split into micro-batches. It
        is part of ``total_loss`` only, never of the plain cross-entropy.
        """
        return None

    def on_step(self, model: nn.Module, step: int) -> None:
        """Act after ``optimizer.step()`` number ``step`` (from 0) and before ``zero_grad()``."""

    def on_epoch(self, model: nn.Module, epoch: int) -> None:
        """Act after epoch number ``epoch`` (from 0)."""

    # -- checkpoints and the end -------------------------------------------------------------------

    def trainable_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return all tensors that `wrap_model` with the same seed does not bring back: name to tensor (no copy)."""
        return trainable_parameters(model)

    @torch.no_grad()
    def load_trainable_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put `trainable_state` back into a model that was wrapped in the same way.

        Raises:
            CheckpointError: If names or shapes do not belong to this model.
        """
        copy_into(self.trainable_state(model), state, self.name)

    def finalize(self, model: nn.Module) -> nn.Module:
        """Return the model to export: merged into plain weights where the method merges."""
        return model


def trainable_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that require gradients, by name, tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def norm_parameter_names(model: nn.Module) -> set[str]:
    """Return the names of all parameters held by normalisation layers (classes named ...Norm)."""
    return {
        f"{module_name}.{name}".lstrip(".")
        for module_name, module in model.named_modules()
        if type(module).__name__.rstrip("123d").endswith("Norm")
        for name, _ in module.named_parameters(recurse=False)
    }


def decay_groups(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    weight_decay: float,
    learning_rate_scale: float = 1.0,
) -> list[ParameterGroup]:
    """Split parameters into one group with weight decay and one without; empty groups are left out."""
    norms = norm_parameter_names(model)
    decayed = {name for name in parameters if name not in norms and not NO_DECAY_NAMES.search(name)}
    groups: list[ParameterGroup] = [
        {"params": [p for n, p in parameters.items() if n in decayed], "weight_decay": weight_decay},
        {"params": [p for n, p in parameters.items() if n not in decayed], "weight_decay": 0.0},
    ]
    return [{**group, "learning_rate_scale": learning_rate_scale} for group in groups if group["params"]]


@torch.no_grad()
def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor], owner: str) -> None:
    """Copy tensors by name, in place.

    Raises:
        CheckpointError: If the names or the shapes differ.
    """
    if odd := sorted(target.keys() ^ source.keys()):
        raise CheckpointError(
            f"checkpoint of method {owner!r} does not fit the model: {len(odd)} names differ, {odd[:3]}"
        )
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            raise CheckpointError(
                f"checkpoint of method {owner!r}: {name} has shape {tuple(source[name].shape)}, "
                f"the model needs {tuple(tensor.shape)}"
            )
        tensor.copy_(source[name])
