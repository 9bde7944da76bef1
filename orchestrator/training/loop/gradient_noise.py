r"""The gradient noise scale, estimated from the gradients of the micro-batches of one optimizer step.

McCandlish et al. 2018 (arXiv 1812.06162), appendix A: with per-sample gradient covariance
:math:`\Sigma` and true gradient :math:`G`, a mean gradient over ``b`` samples has
:math:`E|g|^2 = |G|^2 + tr(\Sigma) / b`. Two batch sizes give two equations, hence unbiased estimates of
both unknowns. Here the small batches are the ``k`` micro-batches of the step, with ``n_i`` of the ``n``
answer tokens each; weighting each by its tokens, :math:`W = \sum_i (n_i / n) |g_i|^2`, the equations are

.. math:: E[W] = |G|^2 + k \sigma^2 / n, \qquad E|g|^2 = |G|^2 + \sigma^2 / n

(:math:`\sigma^2` per token), so :math:`\sigma^2 / n = (W - |g|^2) / (k - 1)`: unbiased for unequal
micro-batches too. In samples, :math:`tr(\Sigma) = B \sigma^2 / n` for an effective batch of ``B``.

Two things to know when reading it. The micro-batches of a step are sorted by length, so differences
between short and long samples count as noise: the estimate leans high. And a single step's ratio is
wild, so the noise scale is the ratio of two running averages (as in the paper's appendix A.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

DECAY = 0.95
"""Weight of the past in the running averages: about twenty steps of memory."""


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """Unbiased estimates of one step; ``signal`` may be negative when noise dominates.

    Attributes:
        trace: Trace of the per-sample gradient covariance.
        signal: Squared norm of the true gradient.
    """

    trace: float
    signal: float

    @property
    def corrected_norm(self) -> float:
        """Norm of the true gradient, 0 where the estimate of its square is negative."""
        return math.sqrt(max(self.signal, 0.0))


def estimate_noise(
    squared_norms: Sequence[float], weights: Sequence[float], squared_norm: float, samples: int
) -> NoiseEstimate | None:
    """Estimate gradient noise from one optimizer step.

    Args:
        squared_norms: ``|g_i|^2`` of each micro-batch's own mean gradient.
        weights: Share of each micro-batch in the step (of its answer tokens); sum to 1.
        squared_norm: ``|g|^2`` of the step's gradient, the weighted mean of the ``g_i``.
        samples: Samples of the effective batch.

    Returns:
        None with fewer than two micro-batches or values that are not finite.
    """
    count = len(squared_norms)
    if count < 2:
        return None
    small = sum(weight * norm for weight, norm in zip(weights, squared_norms, strict=True))
    excess = (small - squared_norm) / (count - 1)
    if not math.isfinite(excess):
        return None
    return NoiseEstimate(trace=excess * samples, signal=squared_norm - excess)


class NoiseAverage:
    """Running averages of trace and signal, and their ratio: the noise scale in samples."""

    def __init__(self, decay: float = DECAY) -> None:
        self.decay = decay
        self._trace, self._signal, self._seen = 0.0, 0.0, 0

    def update(self, estimate: NoiseEstimate | None) -> float | None:
        """Take in one step; return the noise scale, None while it cannot be told (no positive averages)."""
        if estimate is None:
            return None
        share = max(1.0 - self.decay, 1.0 / (self._seen + 1))
        self._trace += share * (estimate.trace - self._trace)
        self._signal += share * (estimate.signal - self._signal)
        self._seen += 1
        return self._trace / self._signal if self._trace > 0 and self._signal > 0 else None

    def state_dict(self) -> dict[str, float]:
        """Return a JSON-able state."""
        return {"trace": self._trace, "signal": self._signal, "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put a state back."""
        self._trace, self._signal, self._seen = float(state["trace"]), float(state["signal"]), int(state["seen"])


class GradientSum:
    """Sums the gradients of micro-batches and keeps the squared norm of each one's own gradient.

    Each parameter's gradient is taken away as soon as a backward pass has finished it, measured, and
    added to a sum: the same additions autograd would do and one reading of each gradient, with no second
    copy of all gradients in memory and no synchronisation with the device.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self._sums: dict[nn.Parameter, Tensor] = {}
        self._terms: list[Tensor] = []
        self._active = False
        self._handles = [_after_gradient(parameter, self._take) for parameter in self.parameters]

    def start(self, measure: bool) -> None:
        """Forget all gradients; without ``measure`` autograd keeps them in place and nothing is measured."""
        self._active = measure
        self._sums.clear()
        self._terms.clear()
        for parameter in self.parameters:
            parameter.grad = None

    def squared_norm(self) -> Tensor:
        """Return the squared norm of the gradient of the backward pass just done (0-dimensional, on the device)."""
        if not self._terms:
            return torch.zeros((), device=self.parameters[0].device)
        total = torch.stack(self._terms).square().sum()
        self._terms.clear()
        return total

    def finish(self) -> list[Tensor]:
        """Put the sums where the optimizer looks for them and return them."""
        for parameter, total in self._sums.items():
            parameter.grad = total
        self._sums.clear()
        self._active = False
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def close(self) -> None:
        """Take the hooks off the parameters."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.start(measure=False)

    @torch.no_grad()
    def _take(self, parameter: Tensor) -> None:
        if not self._active or parameter.grad is None:
            return
        assert isinstance(parameter, nn.Parameter)
        self._terms.append(torch.linalg.vector_norm(parameter.grad, dtype=torch.float32))
        if parameter in self._sums:
            self._sums[parameter] += parameter.grad
        else:
            self._sums[parameter] = parameter.grad
        parameter.grad = None


def _after_gradient(parameter: nn.Parameter, act: Callable[[Tensor], None]) -> RemovableHandle:
    register: Callable[[Callable[[Tensor], None]], RemovableHandle] = parameter.register_post_accumulate_grad_hook
    return register(act)
