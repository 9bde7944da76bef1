"""One optimizer step over one effective batch, whatever micro-batches it comes in.

Loss and gradient are exact token means over the effective batch: every micro-batch's summed
cross-entropy is divided by the answer tokens of the *whole* effective batch before its backward pass.
Method terms are weighted with the micro-batch's share of those tokens. All measurements stay on the
device until one transfer at the end of the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from orchestrator.errors import DataError, DeviceMemoryError
from orchestrator.training.loop.batches import MicroBatch, answer_tokens
from orchestrator.training.loop.gradient_noise import GradientSum, NoiseEstimate, estimate_noise
from orchestrator.training.loop.loss import AnswerLoss
from orchestrator.training.methods.contract.method import Method
from orchestrator.training.optimizers.build import set_learning_rate, trainable


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step measured (nats per answer token; gradient norm before clipping)."""

    loss: float
    total_loss: float
    grad_norm: float
    noise: NoiseEstimate | None


class StepRunner:
    """Takes optimizer steps on one model.

    Args:
        model: The wrapped model, on its device, in training mode.
        method: Its method, for the hooks of a step.
        optimizer: Over the model's trainable parameters.
        answer_loss: How the model's loss is computed.
        clip_norm: Largest gradient norm, None for no clipping.
        bfloat16: Run matrix products in bfloat16 (autocast). Trainable weights, their gradients and the
            optimizer's state stay float32: at learning rates of 1e-6 a bfloat16 weight would not move.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimizer: Optimizer,
        answer_loss: AnswerLoss,
        *,
        clip_norm: float | None,
        bfloat16: bool,
    ) -> None:
        self.model, self.method, self.optimizer, self.answer_loss = model, method, optimizer, answer_loss
        self.clip_norm, self.bfloat16 = clip_norm, bfloat16
        self.gradients = GradientSum(trainable(optimizer))
        self.device = next(model.parameters()).device

    def step(self, micro_batches: Sequence[MicroBatch], step: int, learning_rate: float) -> StepResult:
        """Take one optimizer step.

        Args:
            micro_batches: The effective batch, on the CPU.
            step: Number of the step, from 0.
            learning_rate: Already scheduled.

        Raises:
            DataError: If the effective batch has no token to learn.
            torch.OutOfMemoryError: If forward or backward does not fit; nothing is changed then.
            DeviceMemoryError: If the optimizer itself does not fit.
        """
        counts = [answer_tokens(micro_batch) for micro_batch in micro_batches]
        if sum(counts) == 0:
            raise DataError("training data", "", None, f"the effective batch of step {step} has no answer to learn")
        shares = [count / sum(counts) for count in counts if count]
        learned = [micro_batch for micro_batch, count in zip(micro_batches, counts, strict=True) if count]
        self.gradients.start(measure=len(learned) > 1)
        measured = [
            self._micro_step(batch, share, sum(counts), step) for batch, share in zip(learned, shares, strict=True)
        ]
        gradients = self.gradients.finish()
        norm = get_total_norm(gradients)
        if self.clip_norm is not None:
            clip_grads_with_norm_(self.gradients.parameters, self.clip_norm, norm)
        self._update(learning_rate)
        self.method.on_step(self.model, step)
        values = torch.stack([*(term for terms in measured for term in terms), norm.float()]).tolist()
        samples = sum(micro_batch.rows for micro_batch in micro_batches)
        return _result(values, shares, sum(counts), samples)

    def _micro_step(
        self, micro_batch: MicroBatch, share: float, total: int, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one micro-batch forward and backward; give its summed loss, its method term, its squared norm."""
        on_device = micro_batch.to(self.device)
        batch = on_device.as_batch()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            summed = self.answer_loss.sum(on_device, self.method.forward_kwargs(batch))
            extra = self.method.auxiliary_loss(self.model, batch, step)
        objective = summed / total if extra is None else summed / total + extra * share
        torch.autograd.backward(objective)
        term = torch.zeros_like(summed) if extra is None else extra.detach().float() * share
        return summed.detach(), term, self.gradients.squared_norm()

    def _update(self, learning_rate: float) -> None:
        set_learning_rate(self.optimizer, learning_rate)
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                "the optimizer's state does not fit the device, which no micro-batch size can mend; use a method "
                f"with fewer trainable parameters, a smaller model or a larger device ({error})"
            ) from error

    def close(self) -> None:
        """Take all hooks off the model and forget gradients."""
        self.gradients.close()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that the device has too little memory (backends phrase it differently)."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def _result(values: Sequence[float], shares: Sequence[float], total: int, samples: int) -> StepResult:
    losses, terms, squares = values[0:-1:3], values[1:-1:3], values[2:-1:3]
    norm = values[-1]
    loss = math.fsum(losses) / total if all(map(math.isfinite, losses)) else sum(losses) / total
    # A micro-batch's gradient was taken of its share of the loss; divide to have its own mean gradient.
    own = [square / share**2 for square, share in zip(squares, shares, strict=True)]
    noise = estimate_noise(own, shares, norm**2, samples) if math.isfinite(norm) else None
    return StepResult(loss, loss + sum(terms), norm, noise)
