"""A trial of the user's own code in its process, driven as a worker drives it, without Ray."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.records import Milestone, TrialConfig, TrialState
from orchestrator.settings.trial_setup import (
    DataSettings,
    EntrypointSettings,
    ModelSettings,
    TrainingSettings,
    TrialSetup,
)
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.own_training.runner import LostProcess, OwnTrialRunner
from orchestrator.tuning.own_training.start import end_nurseries
from orchestrator.tuning.worker.task import WorkerTask

LEVELS = (16, 32, 64)
TRAIN = """
import json, os, random, sys, time

def train(trial):
    folder = trial.latest_checkpoint()
    weight = 1.0 if folder is None else json.loads((folder / "w.json").read_text())
    print("begins at", trial.samples_seen, "in process", os.getpid(), flush=True)
    while trial.samples_seen < trial.samples:
        seen = trial.samples_seen + trial.effective_batch_size
        weight *= 0.9
        scores = None
        if trial.reaches_milestone(seen):
            scores = {"eval/loss": weight}
            with trial.save_checkpoint(seen) as folder:
                (folder / "w.json").write_text(json.dumps(weight))
        trial.report(samples_seen=seen, loss=weight, grad_norm=1.0, scores=scores)
        if trial.should_stop():
            print("stops at", seen, flush=True)
            return
"""
Make = Callable[..., OwnTrialRunner]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return what makes runners of one trial; all are closed at the end."""
    made: list[OwnTrialRunner] = []

    def build(code: str = TRAIN, known: int = 0, **changes: Any) -> OwnTrialRunner:
        (tmp_path / "script.py").write_text(textwrap.dedent(code))
        settings = {"function": "script.py:train", "folder": str(tmp_path), "grace_seconds": 5.0}
        config = TrialConfig("own", 8, 0.1, 64, method_options={"width": 3})
        task = WorkerTask(
            setup=TrialSetup(ModelSettings(""), DataSettings(), (), TrainingSettings()),
            setup_digest="",
            folder=SweepFolder(tmp_path / "runs", "small"),
            levels=LEVELS,
            step_rule=DivergenceRule(),
            threads=1,
            entrypoint=EntrypointSettings(**{**settings, **changes}),
            judged=("eval/loss",),
        )
        made.append(OwnTrialRunner(task, {"trial_id": "abc", "trial": config.as_dict(), "known_milestones": known}))
        return made[-1]

    yield build
    for runner in made:
        runner.close()


def reports(tmp_path: Path) -> list[Milestone]:
    folder = SweepFolder(tmp_path / "runs", "small")
    return [read_report(path)[0] for path in sorted(folder.report("abc", 0).parent.glob("m*.json"))]


def signals(tmp_path: Path) -> list[tuple[int, float]]:
    return [(signal.samples_seen, signal.loss) for each in reports(tmp_path) for signal in each.signals]


def output(tmp_path: Path) -> str:
    return (tmp_path / "runs" / "small" / "trials" / "abc" / "output.log").read_text()


def processes(tmp_path: Path) -> list[int]:
    return [int(line.rsplit(" ", 1)[1]) for line in output(tmp_path).splitlines() if line.startswith("begins at")]


def failure(runner: OwnTrialRunner) -> str:
    result = runner.step()
    assert result["milestone"] == -1
    return str(result["failure"])


WHOLE = [(8 * step, pytest.approx(0.9**step)) for step in range(1, 9)]


def test_milestones_follow_one_another_in_one_process(make: Make, tmp_path: Path) -> None:
    runner = make()
    assert [runner.step()["milestone"] for _ in LEVELS] == [0, 1, 2]
    found = reports(tmp_path)
    assert [(each.level, each.samples_seen, each.state) for each in found] == [
        (16, 16, TrialState.RUNNING),
        (32, 32, TrialState.RUNNING),
        (64, 64, TrialState.COMPLETED),
    ]
    assert [each.scores for each in found] == [{"eval/loss": pytest.approx(0.9**n)} for n in (2, 4, 8)]
    assert signals(tmp_path) == WHOLE
    assert found[0].setup_seconds > 0
    assert found[2].checkpoint == "small/trials/abc/own/samples-000000000064"
    assert len(processes(tmp_path)) == 1


def test_a_paused_trial_goes_on_elsewhere_as_if_it_had_never_paused(make: Make, tmp_path: Path) -> None:
    first = make()
    first.step()
    first.close()
    assert "stops at 16" in output(tmp_path)
    second = make(known=1)
    assert [second.step()["milestone"] for _ in (1, 2)] == [1, 2]
    assert signals(tmp_path) == WHOLE
    assert "begins at 16" in output(tmp_path)


def test_a_trial_that_pauses_and_comes_back_to_its_worker_keeps_its_process(make: Make, tmp_path: Path) -> None:
    runner = make()
    runner.step()
    assert not runner.goes_on_with({"trial_id": "other", "known_milestones": 1})
    assert not runner.goes_on_with({"trial_id": "abc", "known_milestones": 0})
    assert runner.goes_on_with({"trial_id": "abc", "known_milestones": 1})
    runner.step()
    assert len(processes(tmp_path)) == 1


def test_code_without_checkpoints_is_trained_again_from_its_start(make: Make, tmp_path: Path) -> None:
    code = TRAIN.replace("trial.latest_checkpoint()", "None").replace(
        "with trial.save_checkpoint(seen) as folder:", "if 0:"
    )
    first = make(code)
    first.step()
    first.close()
    second = make(code, known=1)
    second.step()
    second.step()
    assert signals(tmp_path) == WHOLE
    assert output(tmp_path).count("begins at 0") == 2
    assert reports(tmp_path)[0].checkpoint is None


def test_a_killed_process_is_lost_and_its_successor_goes_on(make: Make, tmp_path: Path) -> None:
    code = TRAIN.replace("weight *= 0.9", "weight *= 0.9\n        time.sleep(10 if seen == 48 else 0)")
    runner = make(code)
    runner.step()
    runner.step()
    pid = processes(tmp_path)[0]

    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(LostProcess, match="killed by signal 9"):
        runner.step()
    again = make(known=2)
    assert again.step()["milestone"] == 2
    assert signals(tmp_path) == WHOLE


def test_a_worker_that_dies_takes_the_process_with_it(make: Make, tmp_path: Path) -> None:
    # The worker's death is that of the pipe: the fork server and everything forked from it end.
    runner = make()
    runner.step()
    pid = processes(tmp_path)[0]
    end_nurseries()
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_stopped_process_that_does_not_return_is_ended(make: Make, tmp_path: Path) -> None:
    code = TRAIN.replace("return\n", "time.sleep(600)\n")
    runner = make(code, grace_seconds=0.2)
    runner.step()
    pid = processes(tmp_path)[0]
    runner.close()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_diverging_trial_is_halted_between_milestones(make: Make, tmp_path: Path) -> None:
    runner = make(TRAIN.replace("loss=weight", "loss=float('nan') if seen == 40 else weight"))
    runner.step()
    runner.step()
    assert runner.step()["milestone"] == 2
    last = reports(tmp_path)[2]
    assert (last.state, last.samples_seen, last.scores) == (TrialState.DIVERGED, 40, {})


def test_a_user_can_stop_a_trial_between_milestones(make: Make, tmp_path: Path) -> None:
    runner = make(TRAIN.replace("weight *= 0.9", "weight *= 0.9; time.sleep(0.3)"))
    runner.step()
    SweepFolder(tmp_path / "runs", "small").stop_sign("abc").touch()
    assert runner.step()["stopped"]


def test_one_large_step_passes_several_milestones(make: Make, tmp_path: Path) -> None:
    runner = make(TRAIN.replace("trial.samples_seen + trial.effective_batch_size", "trial.samples_seen + 40"))
    runner._config = runner._config.from_dict({**runner._config.as_dict(), "effective_batch_size": 40})
    assert [runner.step()["milestone"] for _ in LEVELS] == [0, 1, 2]
    assert [(each.level, each.samples_seen, len(each.signals)) for each in reports(tmp_path)] == [
        (16, 40, 1),
        (32, 40, 0),
        (64, 64, 1),
    ]


def test_an_end_on_purpose_completes_the_trial(make: Make, tmp_path: Path) -> None:
    runner = make(
        TRAIN.replace("if trial.should_stop():", "if seen == 32: trial.finish('converged'); return\n        if 0:")
    )
    assert [runner.step()["milestone"] for _ in LEVELS] == [0, 1, 2]
    assert (reports(tmp_path)[2].state, reports(tmp_path)[2].samples_seen) == (TrialState.COMPLETED, 32)
    assert "Ends after 32 of 64 samples: converged" in output(tmp_path)


def test_what_follows_the_last_milestone_runs_to_its_end(make: Make, tmp_path: Path) -> None:
    runner = make(TRAIN.replace("return\n", "time.sleep(1.0); (trial.checkpoint_dir() / 'model').touch(); return\n"))
    for _ in LEVELS:
        runner.step()
    assert (tmp_path / "runs/small/trials/abc/own/model").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (TRAIN.replace("scores=scores", "scores=None"), "at 16 samples was reported without 'eval/loss'"),
        (TRAIN.replace("samples_seen=seen", "samples_seen=seen % 24"), "samples_seen = '0': the samples seen fell: 16"),
        (TRAIN.replace("samples_seen=seen", "samples_seen=5 * seen"), "one report passes several milestones (16, 32)"),
        (
            TRAIN.replace("if trial.should_stop():", "if seen == 24:"),
            "samples_seen = 24: it ended before the budget of 64",
        ),
        ("def train(trial): pass", "it ended without having reported anything"),
        ("def train(): pass", "train must take exactly one argument, the trial"),
        ("train = 3", "script.py has no function named 'train'"),
    ],
)
def test_code_that_breaks_its_promise_is_told_in_one_sentence(make: Make, code: str, said: str) -> None:
    runner = make(code)
    results = [runner.step()]
    while results[-1]["milestone"] >= 0:
        results.append(runner.step())
    assert said in results[-1]["failure"]
    assert results[-1]["failure"].startswith("script.py:train: ")
    assert results[-1]["misuse"][0] == "script.py:train"
    assert "\n" not in results[-1]["failure"]


def test_code_that_fails_is_told_with_its_place(make: Make) -> None:
    said = failure(make(TRAIN.replace("weight *= 0.9", "raise ValueError('no such thing')")))
    assert "script.py:train failed: ValueError: no such thing (script.py:10); its output stands in" in said


def test_code_that_exits_by_itself_is_told_with_its_last_words(make: Make) -> None:
    said = failure(make("import sys\ndef train(trial): sys.exit('no data here')"))
    assert "script.py:train failed: it ended with exit code 1: no data here" in said


def test_code_that_reports_on_after_it_was_stopped_is_ended(make: Make, tmp_path: Path) -> None:
    code = TRAIN.replace("if trial.should_stop():", "if 0:")
    runner = make(code, grace_seconds=30.0)
    runner.step()
    began = time.monotonic()
    runner.close()
    assert time.monotonic() - began < 25, "it ends by itself at its next report, not by force"
    assert "stops at" not in output(tmp_path)


def test_a_silent_trial_fails(make: Make) -> None:
    said = failure(make("import time\ndef train(trial): time.sleep(60)", silent_minutes=0.01, grace_seconds=0.0))
    assert "script.py:train reported nothing for 0.01 minutes" in said


COMMAND = """
import sys
from orchestrator.integrations import current_trial

trial = current_trial()
print("arguments", sys.argv[1:], flush=True)
while trial.samples_seen < trial.samples:
    seen = trial.samples_seen + trial.effective_batch_size
    trial.report(samples_seen=seen, loss=1.0, scores={"eval/loss": seen} if trial.reaches_milestone(seen) else None)
    if trial.should_stop():
        break
"""


def test_a_command_gets_its_values_and_finds_its_trial(make: Make, tmp_path: Path) -> None:
    words = ["python", "script.py", "--lr={learning_rate}", "{width}", "{{x}}"]
    runner = make(COMMAND, function="", command=words)
    assert [runner.step()["milestone"] for _ in LEVELS] == [0, 1, 2]
    assert "arguments ['--lr=0.1', '3', '{x}']" in output(tmp_path)
    assert [each.scores["eval/loss"] for each in reports(tmp_path)] == [16, 32, 64]


def test_a_command_that_fails_is_told_with_its_last_words(make: Make) -> None:
    said = failure(make("import sys; sys.exit('the disk is gone')", function="", command=["python", "script.py"]))
    assert "python script.py failed: it ended with exit code 1: " in said
    assert "the disk is gone; its output stands in" in said


def test_a_command_that_is_killed_is_lost(make: Make) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(LostProcess, match="killed by signal 9"):
        make(code, function="", command=["python", "script.py"]).step()


def test_several_processes_of_one_trial_stop_at_the_same_step(make: Make, tmp_path: Path) -> None:
    code = """
    import sys
    import torch
    from torch import nn
    from transformers import Trainer, TrainingArguments
    from orchestrator.integrations import SweepCallback, sweep_arguments

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)
        def forward(self, x, labels=None):
            found = self.layer(x).squeeze(-1)
            return {"loss": ((found - labels) ** 2).mean(), "logits": found}

    rows = [{"x": torch.tensor([i / 40, 1.0]), "labels": torch.tensor(i / 40)} for i in range(40)]
    arguments = TrainingArguments(use_cpu=True, **sweep_arguments())
    trainer = Trainer(model=Model(), args=arguments, train_dataset=rows, eval_dataset=rows)
    callback = SweepCallback()
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=callback.resume_from_checkpoint)
    # One write: both processes share one unbuffered output, and print() writes each word by itself.
    sys.stdout.write(f"rank {arguments.process_index} of {arguments.world_size} ended at step {trainer.state.global_step}\\n")
    """
    words = ["torchrun", "--standalone", "--nproc_per_node=2", "script.py"]
    first = make(code, function="", command=words, grace_seconds=60.0)
    assert first.step()["milestone"] == 0
    first.close()
    assert "rank 0 of 2 ended at step 2" in output(tmp_path)
    assert "rank 1 of 2 ended at step 2" in output(tmp_path)
    second = make(code, known=1, function="", command=words)
    assert [second.step()["milestone"] for _ in (1, 2)] == [1, 2]
    assert [seen for seen, _ in signals(tmp_path)] == [8, 16, 24, 32, 40, 48, 56, 64]
    assert "rank 1 of 2 ended at step 8" in output(tmp_path)
