"""TRL's trainers under the callback: supervised fine-tuning, preferences, and reinforcement."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from orchestrator.integrations import SweepCallback, Trial, sweep_arguments
from orchestrator.testbed.sources import base_model_path, load_rows
from tests.worlds.own_worlds import Worker

trl = pytest.importorskip("trl")

LEVELS = (8, 16)
CPU = {"use_cpu": True, "bf16": False}


def questions(count: int) -> list[tuple[str, str]]:
    rows = load_rows(f"testbed:sft?rows={count}")
    return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows]


def base() -> dict[str, Any]:
    set_seed(0)
    return {
        "model": AutoModelForCausalLM.from_pretrained(base_model_path()),
        "processing_class": AutoTokenizer.from_pretrained(base_model_path()),
    }


def assignment(**changes: Any) -> dict[str, Any]:
    from orchestrator.records import TrialConfig

    config = TrialConfig("lora", 4, 1e-3, 16, method_options={"r": 4})
    return {"levels": LEVELS, "config": config, **changes}


def sft(trial: Trial) -> Any:
    rows = Dataset.from_list([{"messages": row["messages"]} for row in load_rows("testbed:sft?rows=24")])
    return trl.SFTTrainer(
        **base(),
        train_dataset=rows,
        eval_dataset=rows.select(range(4)),
        args=trl.SFTConfig(max_length=64, **CPU, **sweep_arguments(trial)),
        peft_config=LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear"),
    )


def dpo(trial: Trial) -> Any:
    rows = Dataset.from_list([{"prompt": q, "chosen": a, "rejected": "no idea"} for q, a in questions(24)])
    return trl.DPOTrainer(
        **base(),
        train_dataset=rows,
        eval_dataset=rows.select(range(4)),
        args=trl.DPOConfig(max_length=64, **CPU, **sweep_arguments(trial)),
    )


def grpo(trial: Trial) -> Any:
    rows = Dataset.from_list([{"prompt": q} for q, _ in questions(24)])
    return trl.GRPOTrainer(
        **base(),
        train_dataset=rows,
        reward_funcs=lambda completions, **kwargs: [-float(len(c)) for c in completions],
        args=trl.GRPOConfig(num_generations=2, max_completion_length=4, **CPU, **sweep_arguments(trial)),
    )


def run(trial: Trial, make: Any) -> Any:
    trainer = make(trial)
    callback = SweepCallback(trial)
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=callback.resume_from_checkpoint)
    return trainer


@pytest.mark.parametrize(
    ("make", "judged"), [(sft, "eval/loss"), (dpo, "eval/rewards/accuracies"), (grpo, "train/reward")]
)
def test_loss_gradient_norm_and_objective_reach_the_sweep(
    tmp_path: Path, worker: Worker, make: Any, judged: str
) -> None:
    run(worker.trial(tmp_path, **assignment(judged=(judged,))), make)
    rows = [row for message in worker.messages for row in message["signals"]]
    assert [row[1] for row in rows] == [4, 8, 12, 16]
    assert all(math.isfinite(row[3]) and math.isfinite(row[5]) for row in rows)
    assert [row[6] for row in rows] == [1e-3] * 4
    assert [m["samples_seen"] for m in worker.milestones] == list(LEVELS)
    assert all(math.isfinite(m["scores"][judged]) for m in worker.milestones)


def test_a_paused_and_resumed_trial_has_the_losses_of_an_uninterrupted_one(tmp_path: Path, worker: Worker) -> None:
    run(worker.trial(tmp_path / "whole", **assignment()), sft)
    first, second = Worker(stop=lambda message: bool(message["milestone"])), Worker()
    trainer = run(first.trial(tmp_path / "parts", **assignment()), sft)
    assert trainer.state.global_step == 2
    run(second.trial(tmp_path / "parts", **assignment(known_milestones=1, known_samples=8)), sft)
    assert first.signals + second.signals == worker.signals
    tokens = [row[2] for message in worker.messages for row in message["signals"]]
    assert tokens == sorted(set(tokens))
    assert tokens[0] > 0
    assert second.milestones[-1]["scores"]["eval/loss"] == worker.milestones[-1]["scores"]["eval/loss"]
    first.close()
    second.close()
