"""A trial's configuration in the words of Hugging Face's ``TrainingArguments``."""

from __future__ import annotations

import math
import os
from typing import Any

from orchestrator.integrations.trial import Trial, current_trial
from orchestrator.records import TrialConfig
from orchestrator.spec.trial.schedules import SCHEDULES

DEFAULT_MICRO_BATCH_SIZE = 8


def sweep_arguments(trial: Trial | None = None, *, micro_batch_size: int = DEFAULT_MICRO_BATCH_SIZE) -> dict[str, Any]:
    """Return keyword arguments for ``TrainingArguments``, ``SFTConfig`` and their kin that follow a trial.

    They set batch sizes, steps, learning rate, schedule, warm-up, AdamW's numbers, clipping and seeds; logging, evaluation
    and saving are left to `SweepCallback`.

    >>> SFTConfig(**{"output_dir": "out", "learning_rate": 2e-5, **sweep_arguments()})  # doctest: +SKIP

    Args:
        trial: The trial; default: that of this process. Outside of a sweep nothing is returned.
        micro_batch_size: Samples that one device takes at once, at most.

    Raises:
        EntrypointError: If the effective batch cannot be split evenly over the processes, or ``transformers`` has no such
            schedule.
    """
    found = current_trial() if trial is None else trial
    if found is None:
        return {}
    config, processes = found.config, int(os.environ.get("WORLD_SIZE", "1"))
    micro = _micro_batch(found, processes, micro_batch_size)
    return {
        "output_dir": str(found.checkpoint_dir()),
        "max_steps": found.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": config.effective_batch_size // (micro * processes),
        "learning_rate": config.learning_rate,
        "warmup_steps": found.warmup_steps,
        **_schedule(found),
        **_optimizer(config),
        "seed": config.seed,
        "data_seed": config.seed,
        "eval_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _micro_batch(trial: Trial, processes: int, most: int) -> int:
    """Return the largest micro-batch size up to ``most`` that divides a process's share of the effective batch."""
    share, rest = divmod(trial.effective_batch_size, processes)
    if rest or not share:
        trial.refuse(
            "effective_batch_size",
            trial.effective_batch_size,
            f"an effective batch is split evenly over {processes} processes",
            f"search multiples of {processes}",
        )
    return next(size for size in range(min(most, share), 0, -1) if share % size == 0)


def _optimizer(config: TrialConfig) -> dict[str, Any]:
    named = {} if config.optimizer == "adamw" else {"optim": config.optimizer}
    return {
        **named,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.beta1,
        "adam_beta2": config.beta2,
        "adam_epsilon": config.epsilon,
        "max_grad_norm": 0.0 if config.clip_norm is None else config.clip_norm,
    }


def _schedule(trial: Trial) -> dict[str, Any]:
    """Return the scheduler of ``transformers`` that equals the trial's; both share warm-up and step counting."""
    config = trial.config
    options = {name: option.default for name, option in SCHEDULES[config.schedule].items()} | dict(
        config.schedule_options
    )
    low = options.get("min_ratio", 0.0)
    if config.schedule == "constant":
        return {"lr_scheduler_type": "constant_with_warmup"}
    if config.schedule == "linear" and low == 0:
        return {"lr_scheduler_type": "linear"}
    if config.schedule == "cosine":
        kwargs: dict[str, Any] = {"num_cycles": options["cycles"], "min_lr_rate": low}
        return {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": kwargs}
    if config.schedule == "wsd" and options["decay_power"] in (0.5, 1.0) and (low == 0 or trial.warmup_steps == 0):
        wanted = math.ceil(round(options["decay_share"] * trial.steps, 9))
        kind = "linear" if options["decay_power"] == 1 else "1-sqrt"
        kwargs = {
            "num_decay_steps": min(wanted, trial.steps - trial.warmup_steps),
            "decay_type": kind,
            "min_lr_ratio": low,
        }
        return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": kwargs}
    trial.refuse(
        "search_space.schedule",
        {"name": config.schedule, **config.schedule_options},
        "transformers has no such schedule",
        "use trial.learning_rate_at(step) in a scheduler of your own",
    )
