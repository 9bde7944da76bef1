"""Cross-entropy straight from hidden states and the output layer, without keeping logits.

The logits of a large vocabulary are the largest tensor of a small model. Here they live for one chunk
of tokens at a time: the forward pass computes a chunk's logits, its loss and at once the gradient, and
keeps only the gradients of hidden states and weights (the scheme of Liger Kernel, Hsu et al. 2024,
arXiv 2410.10989, in plain PyTorch). Nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


@dataclass(frozen=True, slots=True)
class LogitShape:
    """What a model does to ``lm_head(hidden)``: ``cap(scale * x)`` with ``cap(y) = softcap * tanh(y / softcap)``.

    ``scale`` covers Granite (``1 / logits_scaling``) and Cohere (``logit_scale``); ``softcap`` covers
    Gemma (``final_logit_softcapping``), None meaning no cap.
    """

    scale: float = 1.0
    softcap: float | None = None

    def apply(self, logits: Tensor) -> Tensor:
        """Return the logits as the model itself would."""
        shaped = logits if self.scale == 1.0 else logits * self.scale
        return shaped if self.softcap is None else self.softcap * torch.tanh(shaped / self.softcap)


class _Context(FunctionCtx):
    """What the forward leaves to the backward: gradients and types of hidden states, weight and bias."""

    needs_input_grad: tuple[bool, ...]
    grads: tuple[Tensor | None, ...] | None
    dtypes: tuple[torch.dtype | None, ...]


class _FusedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of ``shape.apply(hidden @ weight.T + bias)`` against ``targets``."""

    @staticmethod
    def forward(
        ctx: _Context,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        chunk_tokens: int,
        shape: LogitShape,
    ) -> Tensor:
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        hidden_grad = torch.empty_like(hidden) if wants_hidden else None
        weight_grad, bias_grad = None, None
        total = hidden.new_zeros((), dtype=torch.float32)
        # One buffer for all chunks: fresh memory of this size costs a page fault per 4 KiB on a CPU.
        buffer = hidden.new_empty(min(chunk_tokens, hidden.shape[0]), weight.shape[0])
        for start in range(0, hidden.shape[0], chunk_tokens):
            part = hidden[start : start + chunk_tokens]
            logits = torch.mm(part, weight.t(), out=buffer[: part.shape[0]])
            if bias is not None:
                logits += bias
            loss, gradient = _loss_and_gradient(logits.float(), targets[start : start + chunk_tokens], shape)
            gradient = gradient.to(hidden.dtype)
            total += loss
            if hidden_grad is not None:
                torch.mm(gradient, weight, out=hidden_grad[start : start + chunk_tokens])
            if wants_weight:
                weight_grad = _add_product(weight_grad, gradient, part)
            if wants_bias:
                column = gradient.sum(dim=0, dtype=torch.float32)
                bias_grad = column if bias_grad is None else bias_grad + column
        ctx.grads = (hidden_grad, weight_grad, bias_grad)
        ctx.dtypes = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        return total

    @staticmethod
    def backward(ctx: _Context, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            raise RuntimeError("the fused cross-entropy can be differentiated once only")
        scale = grad_outputs[0]
        scaled = [None if g is None else g.mul_(scale).to(t) for g, t in zip(grads, ctx.dtypes, strict=True)]
        return (*scaled, None, None, None)


def fused_cross_entropy_sum(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    chunk_tokens: int,
    shape: LogitShape,
) -> Tensor:
    """Return the summed cross-entropy of next-token predictions.

    Args:
        hidden: Final hidden states at the predicting positions, ``[n, width]``.
        weight: Output layer, ``[vocabulary, width]``.
        bias: Output bias ``[vocabulary]`` or None.
        targets: Next tokens, int64 ``[n]``.
        chunk_tokens: Tokens whose logits live at the same time.
        shape: What the model does to its logits.

    Returns:
        float32 scalar, nats summed over the n tokens; differentiable once.
    """
    apply: Callable[..., Tensor] = _FusedCrossEntropy.apply
    return apply(hidden, weight, bias, targets, chunk_tokens, shape)


def _loss_and_gradient(logits: Tensor, targets: Tensor, shape: LogitShape) -> tuple[Tensor, Tensor]:
    """Return the loss of one chunk and its gradient with respect to the bare logits, overwriting them.

    Args:
        logits: float32 ``[n, vocabulary]``, bare (before scale and cap).
        targets: int64 ``[n]``.
        shape: What the model does to its logits.
    """
    slope: Tensor | None = None
    if shape.scale != 1.0:
        logits *= shape.scale
    if shape.softcap is not None:
        logits.div_(shape.softcap).tanh_()
        slope = 1.0 - logits * logits
        logits *= shape.softcap
    index = targets.unsqueeze(1)
    highest = logits.amax(dim=1, keepdim=True)
    at_target = logits.gather(1, index) - highest
    gradient = logits.sub_(highest).exp_()
    mass = gradient.sum(dim=1, keepdim=True)
    loss = (mass.log() - at_target).sum()
    gradient.div_(mass).scatter_add_(1, index, gradient.new_full((1, 1), -1.0).expand_as(index))
    if slope is not None:
        gradient *= slope
    if shape.scale != 1.0:
        gradient *= shape.scale
    return loss, gradient


def _add_product(total: Tensor | None, gradient: Tensor, hidden: Tensor) -> Tensor:
    """Return ``total + gradient.T @ hidden``, summed over chunks in float32."""
    if total is None:
        return gradient.t() @ hidden
    if total.dtype == gradient.dtype == torch.float32:
        return total.addmm_(gradient.t(), hidden)
    return total.float() + gradient.t() @ hidden
