"""The callback for Hugging Face trainers: what reaches the sweep, and that a resumed trial equals an uninterrupted one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

from orchestrator.errors import EntrypointError
from orchestrator.integrations import SweepCallback, Trial, sweep_arguments
from orchestrator.integrations.checkpoints import sealed
from orchestrator.integrations.hugging_face import scores_of
from tests.worlds.own_worlds import Worker


class Model(nn.Module):
    """A regression with dropout, so that a resumed run needs the random states too."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.Linear(16, 1))
        self.scale = scale

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        found = self.layers(x).squeeze(-1)
        return {"loss": self.scale * ((found - labels) ** 2).mean(), "logits": found}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    made = torch.Generator().manual_seed(seed)
    values = torch.randn(count, 4, generator=made)
    return [{"x": x, "labels": x.sum()} for x in values]


def trainer_for(trial: Trial | None, folder: Path, **changes: Any) -> Trainer:
    set_seed(0)
    own = {
        "output_dir": str(folder / "mine"),
        "max_steps": 8,
        "per_device_train_batch_size": 8,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        **sweep_arguments(trial, micro_batch_size=4),
    }
    settings = {"eval_dataset": rows(12, 1), "model": Model(), **changes}
    arguments = TrainingArguments(**{**own, **settings.pop("arguments", {})})
    return Trainer(args=arguments, train_dataset=rows(48, 0), **settings)


def run(trial: Trial, folder: Path, **changes: Any) -> Trainer:
    options = changes.pop("callback", {})
    trainer = trainer_for(trial, folder, **changes)
    callback = SweepCallback(trial, **options)
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=callback.resume_from_checkpoint)
    return trainer


def at_milestone(index: int) -> Callable[[dict[str, Any]], bool]:
    """Return a worker's answer that stops a trial at a milestone."""
    return lambda message: bool(message.get("milestone")) and message["milestone"]["indices"] == [index]


def test_every_step_and_every_milestone_is_reported(tmp_path: Path, worker: Worker) -> None:
    run(worker.trial(tmp_path), tmp_path)
    rows_ = [row for message in worker.messages for row in message["signals"]]
    assert [(row[0], row[1]) for row in rows_] == [(step, 8 * step) for step in range(1, 9)]
    assert all(math.isfinite(row[3]) and row[5] > 0 for row in rows_), "loss and gradient norm"
    assert [m["samples_seen"] for m in worker.milestones] == [16, 32, 64]
    assert all(set(m["scores"]) == {"eval/loss"} for m in worker.milestones)
    assert worker.milestones[0]["scores"] != worker.milestones[2]["scores"]
    assert [each.samples_seen for each in sealed(tmp_path / "own")] == [32, 64]
    assert not (tmp_path / "mine").exists(), "checkpoints go to the trial's own folder"


def test_a_trial_stops_at_the_milestone_where_it_is_told_to(tmp_path: Path) -> None:
    peer = Worker(stop=at_milestone(0))
    trainer = run(peer.trial(tmp_path), tmp_path)
    assert trainer.state.global_step == 2
    assert [m["indices"] for m in peer.milestones] == [[0]]
    peer.close()


@pytest.mark.parametrize("paused_at", [0, 1])
def test_a_paused_and_resumed_trial_has_the_losses_of_an_uninterrupted_one(
    tmp_path: Path, worker: Worker, paused_at: int
) -> None:
    run(worker.trial(tmp_path / "whole"), tmp_path)
    first, second = Worker(stop=at_milestone(paused_at)), Worker()
    run(first.trial(tmp_path / "parts"), tmp_path)
    seen = first.milestones[-1]["samples_seen"]
    run(second.trial(tmp_path / "parts", known_milestones=paused_at + 1, known_samples=seen), tmp_path)
    assert first.signals + second.signals == worker.signals
    assert first.milestones[0]["scores"] == worker.milestones[0]["scores"]
    assert second.milestones[-1]["scores"] == worker.milestones[-1]["scores"]
    first.close()
    second.close()


def test_without_checkpoints_a_resumed_trial_starts_anew_and_reports_what_is_new(
    tmp_path: Path, worker: Worker
) -> None:
    run(worker.trial(tmp_path / "whole"), tmp_path, callback={"checkpoints": False})
    again = Worker()
    run(
        again.trial(tmp_path / "again", known_milestones=1, known_samples=16), tmp_path, callback={"checkpoints": False}
    )
    assert again.signals == [row for row in worker.signals if row[0] > 16]
    assert [m["indices"] for m in again.milestones] == [[1], [2]]
    assert sealed(tmp_path / "again" / "own") == []
    again.close()


def test_outside_of_a_sweep_the_callback_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATE_TRIAL", raising=False)
    histories = []
    for callbacks in ([], [SweepCallback()]):
        trainer = trainer_for(None, tmp_path, arguments={"logging_steps": 2})
        for callback in callbacks:
            trainer.add_callback(callback)
            assert callback.resume_from_checkpoint is None
        trainer.train()
        histories.append([(row["step"], row["loss"]) for row in trainer.state.log_history if "loss" in row])
    assert histories[0] == histories[1]
    assert [step for step, _ in histories[0]] == [2, 4, 6, 8]


def test_a_trainer_with_another_batch_is_refused(tmp_path: Path, worker: Worker) -> None:
    with pytest.raises(
        EntrypointError, match=r"effective_batch_size = 8: the Trainer's effective batch is 3 \(micro-batch 3 x"
    ):
        run(
            worker.trial(tmp_path),
            tmp_path,
            arguments={"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1},
        )
    assert worker.messages[-1]["kind"] == "misuse"


def test_a_trainer_that_ends_before_the_budget_is_refused(tmp_path: Path, worker: Worker) -> None:
    with pytest.raises(
        EntrypointError, match="samples = 64: the Trainer ends after 5 steps of 8 samples, before the budget"
    ):
        run(worker.trial(tmp_path), tmp_path, arguments={"max_steps": 5})


def test_an_objective_that_the_trainer_does_not_evaluate_is_refused(tmp_path: Path, worker: Worker) -> None:
    with pytest.raises(EntrypointError, match=r"reported without 'eval/accuracy'.*reported: eval/loss"):
        run(worker.trial(tmp_path, judged=("eval/accuracy",)), tmp_path)


def test_several_evaluation_sets_are_one_milestone(tmp_path: Path, worker: Worker) -> None:
    sets = {"near": rows(8, 1), "far": rows(8, 2)}
    run(worker.trial(tmp_path, judged=("eval/far_loss",)), tmp_path, eval_dataset=sets, callback={"checkpoints": False})
    assert [m["samples_seen"] for m in worker.milestones] == [16, 32, 64]
    assert set(worker.milestones[0]["scores"]) == {"eval/near_loss", "eval/far_loss"}


class Reward(TrainerCallback):
    """Logs a reward beside the loss, as GRPO does."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        logs["reward"] = float(state.global_step)


def test_an_objective_of_the_training_log_is_a_mean_and_needs_no_evaluation(tmp_path: Path, worker: Worker) -> None:
    trial = worker.trial(tmp_path, judged=("train/reward",))
    trainer = trainer_for(trial, tmp_path, eval_dataset=None)
    trainer.add_callback(Reward())
    trainer.add_callback(SweepCallback(trial))
    trainer.train()
    assert [m["scores"]["train/reward"] for m in worker.milestones] == [1.5, 3.5, 6.5]


def test_a_loss_that_is_not_finite_is_not_hidden(tmp_path: Path, worker: Worker) -> None:
    run(worker.trial(tmp_path), tmp_path, model=Model(scale=math.nan))
    assert all(math.isnan(loss) for _, loss in worker.signals)


def test_loss_can_be_read_less_often(tmp_path: Path, worker: Worker) -> None:
    run(worker.trial(tmp_path), tmp_path, callback={"log_every": 3}, arguments={"logging_steps": 500})
    assert [seen for seen, _ in worker.signals] == [16, 24, 32, 48, 64]


def test_scores_are_what_a_trainer_evaluates_without_its_timings() -> None:
    told = {"eval_loss": 1.5, "eval_near_accuracy": 1, "eval_runtime": 3.0, "eval_near_runtime": 1.0, "epoch": 2.0}
    assert scores_of(told) == {"eval/loss": 1.5, "eval/near_accuracy": 1.0}
