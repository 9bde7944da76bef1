"""The callback by which a Hugging Face trainer takes part in a sweep."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from orchestrator.integrations.checkpoints import seal
from orchestrator.integrations.trial import Trial, current_trial

TRAIN = "train/"
_NO_SCORES = frozenset(
    {
        "runtime",
        "samples_per_second",
        "steps_per_second",
        "model_preparation_time",
        "num_input_tokens_seen",
        "num_tokens",
    }
)
_TOKENS = ("num_tokens", "num_input_tokens_seen")


class SweepCallback(TrainerCallback):  # type: ignore[misc]
    """Reports a ``transformers.Trainer`` or a TRL trainer to its sweep, and stops it when the sweep says so.

    >>> trainer.add_callback(SweepCallback(trial))  # doctest: +SKIP

    Loss, gradient norm and learning rate are read after every optimizer step. At a milestone the trainer evaluates and
    saves a checkpoint, then waits for the sweep's decision. Evaluations become scores: ``eval_loss`` is ``eval/loss``.
    An objective ``train/NAME`` is the mean of what the trainer logs as ``NAME`` since the last milestone, such as
    ``train/reward`` of GRPO; where every judged metric is of this kind, nothing is evaluated. Checkpoints go to the
    trial's own folder. With several processes all of them stop at the same step.

    Every optimizer step counts as one effective batch, the smaller last one of an epoch too.

    Args:
        trial: The trial; default: that of this process. Outside of a sweep the callback does nothing.
        log_every: Optimizer steps between two readings of loss and gradient norm.
        checkpoints: Whether to save at milestones; without, a paused or killed trial starts from its beginning again.
    """

    def __init__(self, trial: Trial | None = None, *, log_every: int = 1, checkpoints: bool = True) -> None:
        self._trial = current_trial() if trial is None else trial
        self._log_every, self._checkpoints = log_every, checkpoints
        self._awaited: set[str] = set()
        self._logged: dict[str, float] = {}
        self._scores: dict[str, float] = {}
        self._train_sums: dict[str, list[float]] = {}
        self._evaluation_seconds = 0.0
        self._random: RandomStates | None = None

    @property
    def resume_from_checkpoint(self) -> str | None:
        """Path for ``trainer.train(resume_from_checkpoint=...)``; None where training starts, and outside of a sweep."""
        if self._trial is None:
            return None
        found = self._trial.latest_checkpoint()
        return None if found is None else str(found)

    # -- events of the trainer -------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that the trainer keeps to the trial, and send its checkpoints to the trial's folder."""
        trial = self._trial
        if trial is None:
            return
        if not state.is_world_process_zero:
            trial.listen_only()
        self._check_batch(trial, args)
        self._check_budget(trial, state)
        args.output_dir = str(trial.checkpoint_dir())
        args.logging_nan_inf_filter = False  # it hides the losses by which a divergence is known
        # One older checkpoint stays: this one's milestone is not reported yet.
        args.save_total_limit = max(2, args.save_total_limit or 2)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a log, and at a milestone for an evaluation and a checkpoint."""
        trial = self._trial
        if trial is None:
            return control
        due = trial.reaches_milestone(self._samples(trial, state))
        control.should_log = control.should_log or due or state.global_step % self._log_every == 0
        if due:
            self._awaited = {"log"}
            if any(not name.startswith(TRAIN) for name in trial.metrics):
                self._awaited.add("evaluation")
                control.should_evaluate, self._random = True, RandomStates()
            if self._checkpoints:
                self._awaited.add("checkpoint")
                control.should_save = True
        return control

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> TrainerControl:
        """Report an optimizer step; one at a milestone waits for its evaluation and checkpoint."""
        trial = self._trial
        if trial is None or not logs or "loss" not in logs:
            return control
        self._logged = {name: float(value) for name, value in logs.items() if _is_number(value)}
        for name in trial.metrics:
            value = self._logged.get(name.removeprefix(TRAIN)) if name.startswith(TRAIN) else None
            if value is not None:
                self._train_sums.setdefault(name, []).append(value)
        if not self._awaited:
            self._report(trial, state, control)
            return control
        return self._arrived("log", state, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> TrainerControl:
        """Take the scores of an evaluation; several evaluation sets come one after another."""
        trial = self._trial
        if trial is None:
            return control
        if self._random is not None:
            self._random.restore()
        self._scores |= scores_of(metrics or {})
        self._evaluation_seconds += float((metrics or {}).get("eval_runtime", 0.0))
        whole = all(name in self._scores for name in trial.metrics if not name.startswith(TRAIN))
        return self._arrived("evaluation", state, control) if whole else control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Mark the trainer's checkpoint as complete; it is the last event of a milestone."""
        trial = self._trial
        if trial is None:
            return control
        _wait_for_all()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir() and not args.save_only_model:
            seal(folder, trial.sealed_as(folder, self._samples(trial, state)))
        self._awaited.discard("evaluation")  # what is missing now will not come: the trial says which metric
        return self._arrived("checkpoint", state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Report a milestone whose evaluation never came."""
        if self._trial is not None and self._awaited:
            self._awaited = set()
            self._report(self._trial, state, control)
        return control

    # -- inside ----------------------------------------------------------------------------------------

    def _arrived(self, event: str, state: TrainerState, control: TrainerControl) -> TrainerControl:
        if self._trial is not None and event in self._awaited:
            self._awaited.discard(event)
            if not self._awaited:
                self._report(self._trial, state, control)
        return control

    def _report(self, trial: Trial, state: TrainerState, control: TrainerControl) -> None:
        means = {name: sum(values) / len(values) for name, values in self._train_sums.items()}
        at_milestone = trial.reaches_milestone(self._samples(trial, state))
        trial.report(
            samples_seen=self._samples(trial, state),
            step=state.global_step,
            tokens_seen=self._tokens(state),
            loss=self._logged.get("loss"),
            grad_norm=self._logged.get("grad_norm"),
            learning_rate=self._logged.get("learning_rate"),
            scores={**self._scores, **means} if at_milestone else None,
            evaluation_seconds=self._evaluation_seconds,
        )
        self._evaluation_seconds = 0.0
        if at_milestone:
            self._scores, self._train_sums, self._random = {}, {}, None
        if _agreed(trial.should_stop()):
            control.should_training_stop = True

    def _samples(self, trial: Trial, state: TrainerState) -> int:
        return min(int(state.global_step) * trial.effective_batch_size, trial.samples)

    def _tokens(self, state: TrainerState) -> int | None:
        known = [self._logged[name] for name in _TOKENS if name in self._logged]
        counted = int(getattr(state, "num_input_tokens_seen", 0) or 0)
        return int(known[0]) if known else counted or None

    def _check_batch(self, trial: Trial, args: TrainingArguments) -> None:
        taken = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        if taken != trial.effective_batch_size:
            trial.refuse(
                "effective_batch_size",
                trial.effective_batch_size,
                f"the Trainer's effective batch is {taken} (micro-batch {args.train_batch_size} x "
                f"gradient_accumulation_steps {args.gradient_accumulation_steps} x {args.world_size} processes)",
                "pass **sweep_arguments(trial) to the training arguments, or set them from trial.effective_batch_size",
            )

    def _check_budget(self, trial: Trial, state: TrainerState) -> None:
        if state.max_steps < trial.steps:
            trial.refuse(
                "samples",
                trial.samples,
                f"the Trainer ends after {state.max_steps} steps of {trial.effective_batch_size} samples, before the budget",
                f"set max_steps={trial.steps} (trial.steps), or a lower budget.samples",
            )


class RandomStates:
    """Random states of this process, taken when made: an evaluation draws numbers, and must not change what follows it."""

    def __init__(self) -> None:
        self._python, self._numpy, self._torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore(self) -> None:
        """Put them back."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return a trainer's evaluation as scores: ``eval_accuracy`` is ``eval/accuracy``; timings are left out."""
    named = {name.removeprefix("eval_"): value for name, value in metrics.items() if name.startswith("eval_")}
    return {
        f"eval/{name}": float(value)
        for name, value in named.items()
        if _is_number(value) and not any(name.endswith(each) for each in _NO_SCORES)
    }


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, bool)


def _agreed(stop: bool) -> bool:
    """Return what the first process was told: all processes of a trial stop at the same step."""
    if not _distributed():
        return stop
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    told = torch.tensor([int(stop)], device=device)
    torch.distributed.broadcast(told, src=0)
    return bool(told.item())


def _wait_for_all() -> None:
    if _distributed():
        torch.distributed.barrier()


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


__all__ = ["SweepCallback", "scores_of"]
