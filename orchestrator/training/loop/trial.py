"""One trial as a steppable object: advance to a level, give training signals, evaluate, save, load, export.

Whoever drives it (a process of its own, a warm worker, a test) decides when; the trial knows nothing of
schedulers. All that decides its course is in its configuration: data order depends on the seed and the
epoch alone, the learning rate on the step, and the random numbers (dropout) are the trial's own.
"""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orchestrator.errors import CheckpointError, DeviceMemoryError
from orchestrator.records import Decision, TrainingSignal, TrialConfig
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.spec.trial.batch_plan import BatchPlan
from orchestrator.spec.trial.schedules import multiplier
from orchestrator.training.data.plans.order import make_order
from orchestrator.training.loop.batches import MicroBatch, TokenisedRows, make_micro_batches
from orchestrator.training.loop.checkpoints import Checkpoint, load_checkpoint, load_optimizer, save_checkpoint
from orchestrator.training.loop.gradient_noise import NoiseAverage
from orchestrator.training.loop.loss import make_answer_loss
from orchestrator.training.loop.memory_estimate import uses_bfloat16
from orchestrator.training.loop.random_state import TrialRandom
from orchestrator.training.loop.step import StepResult, StepRunner, is_out_of_memory
from orchestrator.training.loop.token_budgets import PROCESS_BUDGETS, TokenBudgets, budget_key, default_budget
from orchestrator.training.methods.contract.method import Method
from orchestrator.training.model.activation_checkpointing import enable_activation_checkpointing
from orchestrator.training.optimizers.build import make_optimizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Watch = Callable[[TrainingSignal], Decision | None]
"""Looks at each training signal as it comes; a decision halts the trial."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What came of one call of `Trial.advance`.

    Attributes:
        signals: One per optimizer step taken.
        halted: The decision of the watch that halted the trial, None otherwise.
        training_seconds: Wall time spent.
    """

    signals: tuple[TrainingSignal, ...]
    halted: Decision | None
    training_seconds: float


class Trial:
    """One configuration being trained.

    Args:
        trial_id: Name of the trial.
        config: Everything that decides how it trains.
        model: The model after ``method.wrap_model``, of this trial alone, on ``device``; trainable
            weights are float32.
        method: The method that wrapped it.
        data: Tokenised training rows (with ``phases`` for the data strategy ``phased``).
        settings: What stays the same for every trial.
        device: Where it trains.
        pad_token_id: Fills short rows.
        evaluate: Called as ``evaluate(trial, final)`` with the model in evaluation mode; None for no scores.
        budgets: Where micro-batch budgets are remembered.
        clock: Monotonic seconds.

    Raises:
        ValueError: If samples, batch size, warm-up or schedule break their rules.
        SpecError: If optimizer or data strategy are unknown.
    """

    def __init__(
        self,
        *,
        trial_id: str,
        config: TrialConfig,
        model: nn.Module,
        method: Method,
        data: TokenisedRows,
        settings: TrainingSettings,
        device: torch.device,
        pad_token_id: int,
        evaluate: Callable[[Trial, bool], dict[str, float]] | None = None,
        budgets: TokenBudgets = PROCESS_BUDGETS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.trial_id, self.config, self.settings, self.device = trial_id, config, settings, device
        self.model, self.method, self.data, self.pad_token_id = model, method, data, pad_token_id
        self.plan = BatchPlan(config.samples, config.effective_batch_size, config.warmup_unit, config.warmup_amount)
        self.step, self.samples_seen, self.tokens_seen, self.elapsed_seconds = 0, 0, 0, 0.0
        self._evaluate, self._clock, self._budgets = evaluate, clock, budgets
        self._order = make_order(config.data_strategy, data, config.samples, config.seed)
        self._random = TrialRandom(config.seed, device)
        self._noise = NoiseAverage()
        self._key = budget_key(device, model, config.method)
        self.token_budget = self._first_budget()
        self._runner = self._prepare()

    # -- where the trial stands --------------------------------------------------------------------

    @property
    def total_samples(self) -> int:
        """The trial's budget in samples."""
        return self.plan.samples

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self.step >= self.plan.steps

    @property
    def learning_rate(self) -> float:
        """Scheduled learning rate of the next optimizer step (at the end: of a step beyond it)."""
        config = self.config
        factor = multiplier(
            config.schedule, self.step, self.plan.steps, self.plan.warmup_steps, config.schedule_options
        )
        return config.learning_rate * factor

    # -- training ----------------------------------------------------------------------------------

    def advance(self, to_samples: int, watch: Watch | None = None) -> Advance:
        """Train whole optimizer steps until ``to_samples`` samples are seen (or the trial is done).

        Args:
            to_samples: Level to reach; passed by less than one effective batch where it is no multiple.
            watch: Called with each step's signal after the step; training halts when it decides something.

        Raises:
            DeviceMemoryError: If a single sample does not fit the device.
            DataError: If an effective batch has no token to learn.
        """
        began, signals = self._clock(), []
        halted: Decision | None = None
        self.model.train()
        with self._random.swapped():
            while halted is None and not self.done and self.samples_seen < to_samples:
                signals.append(self._take_step())
                halted = None if watch is None else watch(signals[-1])
        return Advance(tuple(signals), halted, self._clock() - began)

    def _take_step(self) -> TrainingSignal:
        began, learning_rate = self._clock(), self.learning_rate
        stop = self.plan.samples_at(self.step + 1)
        sample_ids = self._order.slice(self.samples_seen, stop)
        result = self._step_within_memory(sample_ids, learning_rate)
        tokens = int(self.data.lengths[sample_ids].sum())
        seconds = self._clock() - began
        epoch_before = self._order.epoch(self.samples_seen)
        self.step, self.samples_seen = self.step + 1, stop
        self.tokens_seen, self.elapsed_seconds = self.tokens_seen + tokens, self.elapsed_seconds + seconds
        for epoch in range(epoch_before, self._order.epoch(stop)):
            self.method.on_epoch(self.model, epoch)
        noise_scale = self._noise.update(result.noise)
        return TrainingSignal(
            step=self.step,
            samples_seen=self.samples_seen,
            tokens_seen=self.tokens_seen,
            loss=result.loss,
            total_loss=result.total_loss,
            grad_norm=result.grad_norm,
            learning_rate=learning_rate,
            tokens_per_second=tokens / max(seconds, 1e-9),
            elapsed_seconds=self.elapsed_seconds,
            noise_scale=noise_scale,
            noise_corrected_grad_norm=None if result.noise is None else result.noise.corrected_norm,
        )

    def _step_within_memory(self, sample_ids: NDArray[np.int64], learning_rate: float) -> StepResult:
        """Take the step; where memory runs out, halve the token budget and take the same step again."""
        states = self._random.snapshot()
        while True:
            micro_batches = make_micro_batches(self.data, sample_ids, self.token_budget, self.pad_token_id)
            try:
                return self._runner.step(self._transformed(micro_batches), self.step, learning_rate)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            # Outside the handler, so that the traceback no longer holds the failed step's tensors.
            self._shrink(micro_batches, reason)
            self._random.rewind(states)

    def _shrink(self, micro_batches: list[MicroBatch], reason: str) -> None:
        self._runner.gradients.start(measure=False)
        _free_memory(self.device)
        largest = max(micro_batch.padded_tokens for micro_batch in micro_batches)
        if all(micro_batch.rows == 1 for micro_batch in micro_batches):
            raise DeviceMemoryError(
                f"trial {self.trial_id}: a single sample of {largest} tokens does not fit the device; shorten samples "
                f"(data.max_length), set training.gradient_checkpointing, or use a larger device ({reason})"
            )
        self.token_budget = max(1, min(self.token_budget, largest) // 2)
        self._budgets.remember(self._key, self.token_budget)

    def _transformed(self, micro_batches: list[MicroBatch]) -> list[MicroBatch]:
        if type(self.method).transform_batch is Method.transform_batch:
            return micro_batches
        digest = hashlib.sha256(f"{self.config.seed}/{self.step}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        changed = (self.method.transform_batch(batch.as_batch(), self.step, generator) for batch in micro_batches)
        return [batch.with_tensors(new) for batch, new in zip(micro_batches, changed, strict=True)]

    # -- evaluation, checkpoints, the end ----------------------------------------------------------

    def evaluate(self, final: bool) -> dict[str, float]:
        """Return the scores of the model as it stands; no random number of the trial is used up."""
        if self._evaluate is None:
            return {}
        self.model.eval()
        # The trial's random states are swapped in only while it trains, so nothing drawn here can touch them.
        with torch.no_grad():
            return self._evaluate(self, final)

    def save(self, folder: Path) -> None:
        """Write a checkpoint; see `orchestrator.training.loop.checkpoints`.

        Raises:
            CheckpointError: If the optimizer's state cannot be stored.
            OSError: If the folder cannot be written.
        """
        state = {
            "trial_id": self.trial_id,
            "config": self.config.as_dict(),
            "step": self.step,
            "samples_seen": self.samples_seen,
            "tokens_seen": self.tokens_seen,
            "elapsed_seconds": self.elapsed_seconds,
            "token_budget": self.token_budget,
            "noise": self._noise.state_dict(),
            "random": self._random.state_dict(),
        }
        save_checkpoint(folder, self.method.trainable_state(self.model), self._runner.optimizer, state)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint of the same configuration as if training had never stopped.

        Raises:
            CheckpointError: If it is incomplete, damaged, or of another configuration.
        """
        checkpoint = load_checkpoint(folder)
        if differing := _differences(checkpoint.state["config"], self.config):
            raise CheckpointError(f"checkpoint {folder} is of another configuration: {', '.join(differing)}")
        self._restore(checkpoint)

    def take_over(self, folder: Path, *, training: bool) -> None:
        """Start from another trial's checkpoint.

        Args:
            folder: The checkpoint.
            training: Go on where it stopped, with its optimizer and counters (its configuration may differ in the budget
                alone); else take its weights, and nothing more (method and options must be the same).

        Raises:
            CheckpointError: If it is incomplete or damaged, or does not fit.
        """
        checkpoint = load_checkpoint(folder)
        differing = set(_differences(checkpoint.state["config"], self.config))
        differing = differing - {"samples"} if training else differing & {"method", "method_options"}
        if differing:
            raise CheckpointError(f"checkpoint {folder} is of another configuration: {', '.join(sorted(differing))}")
        if not training:
            self.method.load_trainable_state(self.model, checkpoint.weights)
            return
        step, seen = int(checkpoint.state["step"]), int(checkpoint.state["samples_seen"])
        if step >= self.plan.steps or self.plan.samples_at(step) != seen:
            raise CheckpointError(f"checkpoint {folder} ends within an optimizer step of the larger budget (at {seen})")
        self._restore(checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self.method.load_trainable_state(self.model, checkpoint.weights)
        load_optimizer(self._runner.optimizer, checkpoint.optimizer)
        self.step, self.samples_seen = int(state["step"]), int(state["samples_seen"])
        self.tokens_seen, self.elapsed_seconds = int(state["tokens_seen"]), float(state["elapsed_seconds"])
        self.token_budget = int(state["token_budget"])
        self._noise.load_state_dict(state["noise"])
        self._random.load_state_dict(state["random"])

    def export(self, folder: Path) -> None:
        """Write the trained model in Hugging Face form (merged where the method merges, else the peft adapter).

        The method may merge its adapter into the weights for good: the trial cannot train on afterwards.
        """
        model: PreTrainedModel = self.method.finalize(self.model)
        model.save_pretrained(folder)

    def close(self) -> None:
        """Let go of model, optimizer and gradients; the trial is of no use afterwards."""
        self._runner.close()
        del self._runner, self.model
        _free_memory(self.device)

    # -- setting up --------------------------------------------------------------------------------

    def _first_budget(self) -> int:
        remembered = self._budgets.recall(self._key)
        wanted = self.settings.micro_batch_tokens
        if wanted is None:
            longest = int(max(self.data.lengths))
            wanted = default_budget(self.model, self.config, self.settings, self.device, longest)
        return wanted if remembered is None else min(wanted, remembered)

    def _prepare(self) -> StepRunner:
        model: PreTrainedModel = self.model
        if self.settings.gradient_checkpointing:
            enable_activation_checkpointing(model)
        answer_loss = make_answer_loss(
            model,
            chunk_tokens=self.settings.loss_chunk_tokens,
            full_logits=bool(self.method.uses_full_logits),
            keep_mask=not self.method.allows_packing,
        )
        if self.settings.compile:
            model.get_decoder().compile(dynamic=True)
        return StepRunner(
            model,
            self.method,
            make_optimizer(self.method, model, self.config),
            answer_loss,
            clip_norm=self.config.clip_norm,
            bfloat16=uses_bfloat16(self.settings, self.device.type == "cuda"),
        )


def _differences(saved: Mapping[str, object], config: TrialConfig) -> list[str]:
    """Name the fields in which a saved configuration differs (compared as JSON, where tuples are lists)."""
    current = json.loads(json.dumps(config.as_dict()))
    return sorted(key for key in saved.keys() | current.keys() if saved.get(key) != current.get(key))


def _free_memory(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
