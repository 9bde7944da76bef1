"""Every tracker keeps the same promises: in memory, in SQLite, on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records import Action, Decision, Outcome
from orchestrator.tracking.tracker import SweepOutcome

WAIT_SECONDS = 60


def _tell(tracker: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable) -> None:
    """Tell a small sweep: one trial per way to end."""
    for trial_id in ("done", "stopped", "diverged", "failed"):
        tracker.start_trial(make_trial(trial_id))
        tracker.log_signals(trial_id, make_signals(1, 10))
        tracker.log_scores(trial_id, 160, {"held_out/loss": 1.5, "skills/exact_match": 0.25})
        tracker.log_system(trial_id, 160, "node-a", {"cpu_utilization_percentage": 97.0})
        tracker.log_decision(Decision(trial_id, 160, Action.CONTINUE, "rungs", "dense", "ranks 1 of 4"))
    tracker.log_signals("done", make_signals(11, 20))
    tracker.end_trial("done", Outcome.COMPLETED, 320, scores={"held_out/loss": 1.25})
    tracker.log_decision(stop_decision("stopped"))
    tracker.end_trial("stopped", Outcome.STOPPED, 160, decision=stop_decision("stopped"))
    tracker.end_trial(
        "diverged", Outcome.DIVERGED, 160, decision=stop_decision("diverged", "divergence", "loss is NaN")
    )
    tracker.end_trial("failed", Outcome.FAILED, 160, failure="DeviceMemoryError: one sample does not fit")
    tracker.log_sweep_metrics({"held_out/loss": 1.25, "trials/stopped": 1}, 800)
    tracker.mark_winner("done", "lowest held_out/loss")
    tracker.describe_sweep("## What won\n\nlora", headline="4 trials, best 1.25")


def test_contract_runs_tell_what_ran_stopped_and_won(
    backend: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable
) -> None:
    tracker = backend.open()
    _tell(tracker, make_trial, make_signals, stop_decision)
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    ids = dict(tracker.run_ids)
    tracker.close()
    runs = backend.read()
    assert {key: run.run_id for key, run in runs.items()} == ids

    statuses = {key: (run.status, run.tags["outcome"]) for key, run in runs.items()}
    assert statuses == {
        "": ("FINISHED", "completed"),
        "done": ("FINISHED", "completed"),
        "stopped": ("KILLED", "stopped"),
        "diverged": ("KILLED", "diverged"),
        "failed": ("FAILED", "failed"),
    }
    stopped, done, sweep = runs["stopped"], runs["done"], runs[""]
    assert stopped.parent == sweep.run_id
    assert stopped.tags["stop.rule"] == "rungs"
    assert stopped.tags["stop.reason"] == "ranks 5 of 6, 2 go on"
    assert stopped.tags["stop.samples_seen"] == "160"
    assert stopped.name == "lora r16 lr3e-4 ebs16 s0 · stopped at 160"
    assert "loss is NaN" in runs["diverged"].tags["verdict"]
    assert runs["failed"].tags["failure"] == "DeviceMemoryError: one sample does not fit"
    assert done.name == "★ lora r16 lr3e-4 ebs16 s0"
    assert done.tags["verdict"] == "★ winner: lowest held_out/loss"
    assert done.params["learning_rate"] == "0.0003"
    assert done.params["lora.r"] == "16"
    assert done.datasets == [("sft", "d" * 36)]
    assert done.tags["node"] == "node-a"
    assert [row[0] for row in done.metrics["train/loss"]] == [step * 16 for step in range(1, 21)]
    assert [(row[0], row[2]) for row in done.metrics["held_out/loss"]] == [(160, "1.5"), (320, "1.25")]
    assert "system/cpu_utilization_percentage" in done.metrics
    assert len(done.metrics) <= 15
    assert sweep.name.endswith("· 4 trials, best 1.25")
    assert sweep.tags["mlflow.note.content"] == "## What won\n\nlora"
    assert sweep.tags["git.commit"] == "abc"
    assert sweep.params == {"model": "testbed", "trials": "4"}
    assert sweep.artifacts["sweep.yaml"] == "name: small\n"
    decisions = [json.loads(line) for line in sweep.artifacts["decisions.jsonl"].splitlines()]
    assert [decision["action"] for decision in decisions] == ["CONTINUE"] * 4 + ["STOP"]


def test_contract_repeated_calls_change_nothing(
    backend: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable
) -> None:
    tracker = backend.open()
    _tell(tracker, make_trial, make_signals, stop_decision)
    assert tracker.flush(WAIT_SECONDS)
    before = backend.read()
    _tell(tracker, make_trial, make_signals, stop_decision)
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    after = backend.read()
    assert {key: run.metrics for key, run in after.items()} == {key: run.metrics for key, run in before.items()}
    assert {key: run.status for key, run in after.items()} == {key: run.status for key, run in before.items()}


def test_contract_artifact_files_keep_their_folders_and_the_latest_content(backend: Any, tmp_path: Path) -> None:
    tracker = backend.open()
    page, picture = tmp_path / "page.html", tmp_path / "curve.svg"
    page.write_text("<p>first</p>")
    picture.write_text("<svg/>")
    tracker.log_artifact(page, "report")
    tracker.log_artifact(picture, "report/plots")
    tracker.log_artifact(picture)
    assert tracker.flush(WAIT_SECONDS)
    page.write_text("<p>second</p>")
    tracker.log_artifact(page, "report")
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    tracker.close()
    artifacts = backend.read()[""].artifacts
    assert artifacts["report/page.html"] == "<p>second</p>"
    assert artifacts["report/plots/curve.svg"] == artifacts["curve.svg"] == "<svg/>"


def test_contract_takes_values_that_are_no_numbers(backend: Any, make_trial: Callable, make_signals: Callable) -> None:
    tracker = backend.open()
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 3, loss=float("nan")))
    tracker.log_scores("t", 48, {"held_out/loss": float("inf"), "other/loss": float("-inf"), "odd name#1": 0.5})
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    tracker.close()
    metrics = backend.read()["t"].metrics
    assert [row[2] for row in metrics["train/loss"]] == ["nan"] * 3
    assert [row[2] for row in metrics["held_out/loss"] + metrics["other/loss"]] == ["nan", "nan"]
    assert [row[2] for row in metrics["odd name_1"]] == ["0.5"]


def test_contract_long_values_are_cut_not_refused(backend: Any, make_trial: Callable) -> None:
    tracker = backend.open(tags={f"tag{index}": "x" * 9000 for index in range(3)})
    tracker.set_sweep_tags({f"many{index}": "y" for index in range(150)})
    tracker.start_trial(make_trial("t"))
    tracker.end_trial("t", Outcome.FAILED, 0, failure="z" * 20_000)
    tracker.describe_sweep("# long\n" + "w" * 30_000, headline="h" * 400)
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    tracker.close()
    runs = backend.read()
    assert len(runs[""].tags["tag0"]) == 8000
    assert runs[""].tags["many149"] == "y"
    assert len(runs["t"].tags["failure"]) == 8000
    assert len(runs[""].name) == 250


def test_contract_interrupted_sweep_goes_on_under_the_same_runs(
    backend: Any, make_trial: Callable, make_signals: Callable
) -> None:
    if backend.kind == "memory":
        pytest.skip("memory does not outlive its process")
    tracker = backend.open()
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 5))
    tracker.end_sweep(SweepOutcome.INTERRUPTED)
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    first = backend.read()
    assert {key: (run.status, run.tags["outcome"]) for key, run in first.items()} == {
        "": ("KILLED", "interrupted"),
        "t": ("KILLED", "interrupted"),
    }
    tracker = backend.open()
    tracker.start_trial(make_trial("t"))
    assert tracker.flush(WAIT_SECONDS)
    assert {run.status for run in backend.read().values()} == {"RUNNING"}
    tracker.log_signals("t", make_signals(3, 20))
    tracker.end_trial("t", Outcome.COMPLETED, 320)
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    second = backend.read()
    assert {key: run.run_id for key, run in second.items()} == {key: run.run_id for key, run in first.items()}
    assert {run.status for run in second.values()} == {"FINISHED"}
    assert [row[0] for row in second["t"].metrics["train/loss"]] == [step * 16 for step in range(1, 21)]
