"""What one trial will take: memory at its peak and seconds, before anything is trained.

Seconds rest on a measured speed: matrix products of the model's own sizes, timed here and now, times a
fixed efficiency. That is a rough guide on this kind of machine, and no more than that for another.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil
import torch

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import TrialSetup
from orchestrator.spec.trial.identity import canonical_json
from orchestrator.training.loop.memory_estimate import GIB, MemoryEstimate, ModelShape, estimate_memory
from orchestrator.training.loop.token_budgets import CPU_TOKENS, GPU_TOKENS_MOST
from orchestrator.training.methods import MethodContext, build_method
from orchestrator.training.model.load import load_config
from orchestrator.training.setup.expected import expected_config
from orchestrator.training.setup.inspect import SetupReport

# Share of the matrix-product speed that a whole training step reaches: attention, norms, optimizer and
# Python take the rest. Measured on the test bed's base and on a 10 M parameter Llama: 0.35 to 0.6.
EFFICIENCY = 0.45
PROBE_SECONDS = 0.15


@dataclass(frozen=True)
class TrialEstimate:
    """What one trial takes: memory by part in GiB, trainable parameters, operations, seconds of one slot.

    ``exact_parameters`` is False where the method could not be built without weights and every parameter
    was counted as trainable. ``operations`` are floating-point operations of the model, evaluation included.
    ``gpu_memory_gib`` is the total on a GPU, with a micro-batch of one longest row. ``seconds`` is None where model
    or data is not here: then nothing is known of the machine that will train, and ``memory`` is that on a GPU.
    """

    memory: MemoryEstimate
    trainable_parameters: int
    exact_parameters: bool
    operations: float
    gpu_memory_gib: float
    seconds: float | None


def available_gib() -> float:
    """Return the free memory: of one GPU where there is one, else of this machine."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0]) / GIB
    return float(psutil.virtual_memory().available) / GIB


def machine_slots(cpu: float, gpu: float, concurrency: int | None) -> int:
    """Return how many trials this machine holds at once."""
    fits = [(os.cpu_count() or 1) / cpu]
    if gpu:
        fits.append(torch.cuda.device_count() / gpu)
    here = max(1, int(min(fits) + 1e-9))
    return min(here, concurrency or here)


class TrialEstimator:
    """Estimates the trials of one setup."""

    def __init__(self, setup: TrialSetup, report: SetupReport, threads: int) -> None:
        self._setup, self._report = setup, report
        self._config = expected_config(setup.model) if report.missing else load_config(setup.model)
        self._shape = ModelShape.from_config(self._config, report.model.parameters)
        self._on_gpu = torch.cuda.is_available() or bool(report.missing)
        self._threads = threads
        self._trainable: dict[str, tuple[int, bool]] = {}
        self._flops = None if report.missing else self._measure_speed()

    def tokens(self, samples: int) -> int:
        """Return the expected tokens of that many samples."""
        return round(self._report.train.mean * samples)

    def estimate(self, config: TrialConfig) -> TrialEstimate:
        """Return what a trial of this configuration takes."""
        trainable, exact = self._count_trainable(config)
        operations = self._operations(config, trainable)
        smallest = self._memory(config, trainable, self._report.train.longest, on_gpu=True)
        memory = smallest
        if not self._report.missing:
            memory = self._memory(config, trainable, self._micro_batch_tokens(), on_gpu=self._on_gpu)
        seconds = None if self._flops is None else operations / (self._flops * EFFICIENCY)
        return TrialEstimate(memory, trainable, exact, operations, smallest.total, seconds)

    def _memory(self, config: TrialConfig, trainable: int, tokens: int, *, on_gpu: bool) -> MemoryEstimate:
        return estimate_memory(
            self._shape,
            trainable,
            self._setup.training,
            micro_batch_tokens=tokens,
            optimizer=config.optimizer,
            on_gpu=on_gpu,
        )

    def _micro_batch_tokens(self) -> int:
        wanted = self._setup.training.micro_batch_tokens or (GPU_TOKENS_MOST if self._on_gpu else CPU_TOKENS)
        return max(wanted, self._report.train.longest)

    def _operations(self, config: TrialConfig, trainable: int) -> float:
        """Two operations per parameter forward, two backward to the inputs, two more for trained weights.

        Attention adds four per token, layer, unit of its width and earlier token of the row: half the row on average.
        """
        shape = self._shape
        body = shape.parameters - shape.vocabulary * shape.width
        answers = self._report.train.answer_tokens / max(1, self._report.train.tokens)
        attention = 2 * shape.layers * shape.query_width * self._report.train.mean
        forward = 2 * body + 2 * shape.vocabulary * shape.width * answers + attention
        trained_share = min(1.0, trainable / shape.parameters)
        training = forward * (2 + trained_share) * self.tokens(config.samples)
        evaluating = forward * sum(entry.tokens for entry in self._report.evaluation) * 4
        return training + evaluating

    def _count_trainable(self, config: TrialConfig) -> tuple[int, bool]:
        key = canonical_json([config.method, dict(config.method_options)])
        if key not in self._trainable:
            self._trainable[key] = self._build_and_count(config)
        return self._trainable[key]

    def _build_and_count(self, config: TrialConfig) -> tuple[int, bool]:
        from transformers import AutoModelForCausalLM

        method = build_method(config.method, config.method_options)
        try:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(self._config)
                context = MethodContext(steps=max(1, config.samples // config.effective_batch_size), seed=config.seed)
                wrapped = method.wrap_model(model, context)
        except (RuntimeError, NotImplementedError, ValueError):
            # Some initialisations look at weights, which the meta device does not have.
            return self._report.model.parameters, False
        return sum(p.numel() for p in wrapped.parameters() if p.requires_grad), True

    def _measure_speed(self) -> float:
        """Return floating-point operations per second of products of this model's sizes."""
        device = torch.device("cuda" if self._on_gpu else "cpu")
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            left = torch.randn(self._micro_batch_tokens(), self._shape.width, device=device)
            right = torch.randn(self._shape.width, self._shape.feed_forward_width, device=device)
            work, began, rounds = 2.0 * left.numel() * right.shape[1], time.perf_counter(), 0
            while rounds < 2 or time.perf_counter() - began < PROBE_SECONDS:
                torch.mm(left, right)
                rounds += 1
            if self._on_gpu:
                torch.cuda.synchronize()
            return work * rounds / (time.perf_counter() - began)
        finally:
            torch.set_num_threads(before)
