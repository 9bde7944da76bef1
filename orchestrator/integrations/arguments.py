"""A trial's configuration in the words of Hugging Face's ``TrainingArguments``."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.integrations.trial import Trial, current_trial
from orchestrator.records import HYPERPARAMETERS, TrialConfig
from orchestrator.spec.trial.schedules import find_schedule, schedule_values

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
        "warmup_steps": found.warmup_steps,
        **_schedule(found),
        **_numbers(config),
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


def _numbers(config: TrialConfig) -> dict[str, Any]:
    """Return the optimizer and every number that the two name alike."""
    named = {} if config.optimizer == "adamw" else {"optim": config.optimizer}
    return named | {
        each.argument: each.null_argument if getattr(config, name) is None else getattr(config, name)
        for name, each in HYPERPARAMETERS.items()
        if each.argument
    }


def _schedule(trial: Trial) -> dict[str, Any]:
    """Return the scheduler of ``transformers`` that equals the trial's; both share warm-up and step counting."""
    config = trial.config
    values = schedule_values(config.schedule, config.schedule_options)
    found = find_schedule(config.schedule).arguments(trial.steps, trial.warmup_steps, values)
    if found is None:
        trial.refuse(
            "search_space.schedule",
            {"name": config.schedule, **config.schedule_options},
            "transformers has no such schedule",
            "use trial.learning_rate_at(step) in a scheduler of your own",
        )
    return found
