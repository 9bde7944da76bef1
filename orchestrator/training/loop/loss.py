"""The answer loss: summed cross-entropy over the answer tokens of a micro-batch, for any causal language model.

The model is called as it is, so that every wrapper (peft, hooks, scaled or capped logits) stays in
force; a hook at its output layer lets through only the hidden states that predict an answer token.
Which of three paths is sound for a model is *found out*, once per trial, on a probe of a few tokens:

1. ``fused``: the output layer is a plain linear map and what the model does to its logits is known (see
   `LogitShape`); the loss never holds more than one chunk of logits.
2. ``selected``: anything else whose output layer works token by token (an adapted output layer, say);
   the model's own logits, at the answer positions only.
3. ``full``: the model's own logits at every position, of which the last ``length`` belong to the tokens
   (prompt tuning puts virtual tokens in front); for methods that ask for it and models without a hook point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestrator.training.loop.batches import IGNORED, MicroBatch
from orchestrator.training.loop.fused_loss import LogitShape, fused_cross_entropy_sum
from orchestrator.training.loop.memory_estimate import CPU_CHUNK_ELEMENTS
from orchestrator.training.model.protocols import ModelConfig

Path = Literal["fused", "selected", "full"]

PROBE_TOLERANCE = 2e-4
"""Largest difference of logits, relative to their largest value, that counts as equal in float32."""

PROBE_TOLERANCE_REDUCED = 2e-2
"""The same in bfloat16 and float16."""


@dataclass
class AnswerLoss:
    """Computes the answer loss of one model on the path that `choose_path` found.

    Attributes:
        model: The (wrapped) model.
        path: How logits are had.
        head: The output layer; None on the path ``full`` when the model shows none.
        shape: What the model does to its logits (path ``fused``).
        drop_mask: Whether right padding needs no attention mask (a causal model never looks right).
        chunk_tokens: Answer tokens whose logits live at the same time (path ``fused``).
    """

    model: nn.Module
    path: Path
    head: nn.Module | None
    shape: LogitShape
    drop_mask: bool
    chunk_tokens: int

    def sum(self, micro_batch: MicroBatch, extra: Mapping[str, object] | None = None) -> Tensor:
        """Return the cross-entropy summed over the micro-batch's answer tokens, nats, float32 scalar.

        Args:
            micro_batch: On the model's device, with at least one answer token.
            extra: Further keyword arguments of the model's forward.
        """
        targets = micro_batch.labels[:, 1:]
        predicting = targets != IGNORED
        words = targets[predicting]
        arguments = self._inputs(micro_batch, extra or {})
        if self.path == "full":
            logits = _last(self.model(**arguments).logits, micro_batch)[:, :-1][predicting]
            return _cross_entropy_sum(logits, words)
        assert self.head is not None, "only the path `full` does without an output layer"
        keep = _selector(predicting)
        if self.path == "selected":
            with _tapped(self.head, keep):
                logits = self.model(**arguments).logits
            return _cross_entropy_sum(logits[0], words)
        hidden, weight, bias = _in_one_type(self._hidden(arguments, keep), self.head)
        chunk = _chunk_tokens(self.chunk_tokens, hidden, weight.shape[0])
        return fused_cross_entropy_sum(hidden, weight, bias, words, chunk_tokens=chunk, shape=self.shape)

    def _hidden(self, arguments: Mapping[str, object], keep: Callable[[Tensor], Tensor]) -> Tensor:
        """Run the model and return the hidden states that reach its output layer, ``[n, width]``."""
        assert self.head is not None, "only the path `full` does without an output layer"
        caught: list[Tensor] = []

        def catch(hidden: Tensor) -> Tensor:
            caught.append(keep(hidden)[0])
            # The output layer still runs inside the model: give it a single token.
            return hidden[:1, :1].detach()

        with _tapped(self.head, catch):
            self.model(**arguments)
        return caught[-1]

    def _inputs(self, micro_batch: MicroBatch, extra: Mapping[str, object]) -> dict[str, object]:
        inputs: dict[str, object] = {
            "input_ids": micro_batch.input_ids,
            "use_cache": False,
            **micro_batch.extra,
            **extra,
        }
        if not self.drop_mask:
            inputs["attention_mask"] = micro_batch.attention_mask
        return inputs


def make_answer_loss(model: nn.Module, *, chunk_tokens: int, full_logits: bool, keep_mask: bool) -> AnswerLoss:
    """Find the fastest path that gives the model's own logits, by trying it on a few tokens.

    Args:
        model: The wrapped model, on its device.
        chunk_tokens: Answer tokens whose logits may live at the same time.
        full_logits: The method needs the path ``full``.
        keep_mask: The method needs an attention mask at all times.

    Returns:
        The loss; no random number is drawn and the model's mode is as before.
    """
    head = None if full_logits else _output_layer(model)
    slow = AnswerLoss(model, "full", None, LogitShape(), False, chunk_tokens)
    if head is None:
        return slow
    shape = known_logit_shape(model)
    with _probing(model) as probe:
        logits = model(**slow._inputs(probe, {})).logits
        real = probe.attention_mask.bool()
        drop_mask = not keep_mask and logits.shape[:2] == real.shape and _unmasked_equal(slow, probe, logits)
        for path in ("fused", "selected"):
            trial = AnswerLoss(model, path, head, shape, drop_mask, chunk_tokens)
            if (path == "selected" or _is_plain(head)) and _same_logits(trial, probe, logits):
                return trial
    return slow


def known_logit_shape(model: nn.Module) -> LogitShape:
    """Read from the config what known architectures do to their logits; `make_answer_loss` checks it."""
    config: ModelConfig | None = getattr(model, "config", None)
    config = config.get_text_config() if config is not None and hasattr(config, "get_text_config") else config
    scale = 1.0
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        scale = 1.0 / float(divisor)
    elif (factor := getattr(config, "logit_scale", None)) is not None:
        scale = float(factor)
    softcap = getattr(config, "final_logit_softcapping", None)
    return LogitShape(scale, None if softcap is None else float(softcap))


def _output_layer(model: nn.Module) -> nn.Module | None:
    getter = getattr(model, "get_output_embeddings", None)
    layer = getter() if callable(getter) else None
    return layer if isinstance(layer, nn.Module) else None


def _is_plain(head: nn.Module) -> bool:
    """Whether the output layer is a bare linear map; hooks, subclasses and parametrizations may change it later."""
    return type(head) is nn.Linear and not head._forward_hooks and not head._forward_pre_hooks


def _same_logits(trial: AnswerLoss, probe: MicroBatch, reference: Tensor) -> bool:
    """Whether a path gives the model's own logits at the probe's real positions."""
    assert trial.head is not None, "`full` is the reference"
    real = probe.attention_mask.bool()
    shapes: list[torch.Size] = []

    def keep(hidden: Tensor) -> Tensor:
        shapes.append(hidden.shape)
        fits = hidden.dim() == 3 and hidden.shape[0] == real.shape[0] and hidden.shape[1] >= real.shape[1]
        return hidden[:, -real.shape[1] :][real].unsqueeze(0) if fits else hidden

    arguments = trial._inputs(probe, {})
    with _tapped(trial.head, keep):
        logits = trial.model(**arguments).logits
    if len(shapes) != 1 or len(shapes[0]) != 3:
        return False
    if trial.path == "fused":
        hidden, weight, bias = _in_one_type(trial._hidden(arguments, keep), trial.head)
        logits = trial.shape.apply(functional.linear(hidden, weight, bias)).unsqueeze(0)
    expected = reference[:, -real.shape[1] :][real]
    return logits.shape[1:] == expected.shape and _close(logits[0], expected)


def _unmasked_equal(slow: AnswerLoss, probe: MicroBatch, reference: Tensor) -> bool:
    """Whether leaving the mask away changes nothing at real positions (right padding, causal attention)."""
    inputs = {name: value for name, value in slow._inputs(probe, {}).items() if name != "attention_mask"}
    real = probe.attention_mask.bool()
    return _close(slow.model(**inputs).logits[real], reference[real])


def _close(left: Tensor, right: Tensor) -> bool:
    exact = right.dtype in (torch.float32, torch.float64)
    tolerance = PROBE_TOLERANCE if exact else PROBE_TOLERANCE_REDUCED
    left, right = left.float(), right.float()
    return bool((left - right).abs().max() <= tolerance * right.abs().max().clamp(min=1e-3))


@contextmanager
def _probing(model: nn.Module) -> Iterator[MicroBatch]:
    """Put the model in evaluation mode, without gradients, and give a two-row micro-batch, one row padded."""
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    ids = torch.arange(12, device=device).reshape(2, 6) % 7 + 3
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    model.eval()
    try:
        with torch.no_grad():
            yield MicroBatch(ids, mask, ids.masked_fill(mask == 0, IGNORED), (0, 1), {})
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _tapped(head: nn.Module, keep: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass ``head`` what ``keep`` makes of its input."""

    def change(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (keep(inputs[0]), *inputs[1:])

    handle = head.register_forward_pre_hook(change)
    try:
        yield
    finally:
        handle.remove()


def _selector(predicting: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from hidden ``[rows, >= length, width]`` to ``[1, n, width]`` at predicting positions."""
    length = predicting.shape[1] + 1

    def keep(hidden: Tensor) -> Tensor:
        return hidden[:, -length:][:, :-1][predicting].unsqueeze(0)

    return keep


def _last(logits: Tensor, micro_batch: MicroBatch) -> Tensor:
    return logits[:, -micro_batch.labels.shape[1] :]


def _cross_entropy_sum(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


def _chunk_tokens(limit: int, hidden: Tensor, vocabulary: int) -> int:
    return limit if hidden.is_cuda else min(limit, max(32, CPU_CHUNK_ELEMENTS // vocabulary))


def _in_one_type(hidden: Tensor, head: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
    """Give hidden states, weight and bias of a linear layer one type: autocast's where it is on, else the weight's."""
    assert isinstance(head, nn.Linear), "only plain linear layers are computed here"
    weight, bias = head.weight, head.bias
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
