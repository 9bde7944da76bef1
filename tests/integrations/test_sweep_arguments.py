"""A trial in the words of TrainingArguments: schedules equal the trial's own, batches multiply to the effective one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments, get_scheduler

from orchestrator.errors import EntrypointError
from orchestrator.integrations import sweep_arguments
from orchestrator.records import TrialConfig
from tests.worlds.own_worlds import Worker


def config(**changes: object) -> TrialConfig:
    values = {
        "method": "own",
        "effective_batch_size": 24,
        "learning_rate": 0.01,
        "samples": 24 * 40,
        "warmup_amount": 4.0,
    }
    return TrialConfig(**{**values, **changes})


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("constant", {}),
        ("linear", {}),
        ("cosine", {}),
        ("cosine", {"min_ratio": 0.1, "cycles": 1.5}),
        ("wsd", {}),
        ("wsd", {"decay_share": 0.5, "decay_power": 0.5}),
    ],
)
def test_every_schedule_is_the_same_in_transformers(
    tmp_path: Path, worker: Worker, schedule: str, options: dict[str, float]
) -> None:
    trial = worker.trial(tmp_path, config=config(schedule=schedule, schedule_options=options), levels=(960,))
    arguments = TrainingArguments(use_cpu=True, **sweep_arguments(trial))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    scheduler = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer,
        arguments.warmup_steps,
        arguments.max_steps,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    found = []
    for _ in range(trial.steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx([trial.learning_rate_at(step) for step in range(trial.steps)])


def test_arguments_follow_the_configuration(tmp_path: Path, worker: Worker) -> None:
    chosen = config(beta2=0.9, weight_decay=0.1, clip_norm=None, seed=7)
    arguments = sweep_arguments(worker.trial(tmp_path, config=chosen, levels=(960,)), micro_batch_size=10)
    assert (arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]) == (8, 3)
    assert (arguments["adam_beta2"], arguments["weight_decay"], arguments["max_grad_norm"]) == (0.9, 0.1, 0.0)
    assert (arguments["seed"], arguments["max_steps"], arguments["warmup_steps"]) == (7, 40, 4)
    assert arguments["output_dir"] == str(tmp_path / "own")


def test_the_effective_batch_is_split_over_processes(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = worker.trial(tmp_path, config=config(), levels=(960,))
    monkeypatch.setenv("WORLD_SIZE", "4")
    arguments = sweep_arguments(trial)
    assert arguments["per_device_train_batch_size"] * arguments["gradient_accumulation_steps"] * 4 == 24
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(EntrypointError, match="effective_batch_size = 24: an effective batch is split evenly over 5"):
        sweep_arguments(trial)


def test_a_schedule_that_transformers_does_not_have_is_refused(tmp_path: Path, worker: Worker) -> None:
    chosen = config(schedule="linear", schedule_options={"min_ratio": 0.5})
    with pytest.raises(EntrypointError, match="transformers has no such schedule"):
        sweep_arguments(worker.trial(tmp_path, config=chosen, levels=(960,)))


def test_outside_of_a_sweep_there_is_nothing_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATE_TRIAL", raising=False)
    assert sweep_arguments() == {}
