"""The trial object: what it reports, when it waits, and what it refuses, against a real worker's end of the line."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from orchestrator.errors import EntrypointError
from orchestrator.integrations import TrialEnded, current_trial
from orchestrator.records import TrialConfig
from tests.worlds.own_worlds import Worker

GOOD = {"eval/loss": 1.0}


def train(trial, until: int, loss=lambda seen: 1 / seen) -> None:
    """Report every step of 8 samples from where the trial stands."""
    for seen in range(trial.samples_seen + 8, until + 1, 8):
        scores = GOOD if trial.reaches_milestone(seen) else None
        trial.report(samples_seen=seen, loss=loss(seen), grad_norm=2.0, scores=scores)
        if trial.should_stop():
            return


def test_a_trial_reports_every_step_and_every_milestone(tmp_path: Path, worker: Worker) -> None:
    train(worker.trial(tmp_path), 64)
    assert worker.signals == [(seen, 1 / seen) for seen in range(8, 65, 8)]
    assert [(m["indices"], m["samples_seen"], m["scores"]) for m in worker.milestones] == [
        ([0], 16, GOOD),
        ([1], 32, GOOD),
        ([2], 64, GOOD),
    ]


def test_a_report_at_a_milestone_waits_for_the_decision(tmp_path: Path) -> None:
    decided = threading.Event()
    peer = Worker(stop=lambda message: bool(message.get("milestone")) and not decided.wait(10))
    trial = peer.trial(tmp_path)
    thread = threading.Thread(target=train, args=(trial, 24))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    assert trial.samples_seen == 16
    decided.set()
    thread.join(10)
    assert trial.samples_seen == 24
    peer.close()


def test_a_stopped_trial_is_told_and_cannot_report_on(tmp_path: Path) -> None:
    peer = Worker(stop=lambda message: bool(message["milestone"]))
    trial = peer.trial(tmp_path)
    train(trial, 64)
    assert trial.should_stop()
    assert trial.samples_seen == 16
    with pytest.raises(TrialEnded) as ended:
        trial.report(samples_seen=24, loss=1.0)
    assert ended.value.code == 0
    peer.close()


def test_a_worker_that_is_gone_ends_the_trial(tmp_path: Path) -> None:
    peer = Worker()
    trial = peer.trial(tmp_path)
    peer.close()
    with pytest.raises(TrialEnded):
        trial.report(samples_seen=16, loss=1.0, scores=GOOD)


def test_a_process_that_begins_anew_passes_over_what_was_reported(tmp_path: Path, worker: Worker) -> None:
    trial = worker.trial(tmp_path, known_milestones=1, known_samples=16)
    assert trial.latest_checkpoint() is None
    assert not trial.reaches_milestone(16)
    train(trial, 32)
    assert [seen for seen, _ in worker.signals] == [24, 32]
    assert [m["indices"] for m in worker.milestones] == [[1]]


def test_a_trial_goes_on_from_its_checkpoint_with_the_signals_since_the_milestone(
    tmp_path: Path, worker: Worker
) -> None:
    first = worker.trial(tmp_path)
    train(first, 24)
    with first.save_checkpoint(24) as folder:
        (folder / "weights").write_text("w")
    again = Worker()
    second = again.trial(tmp_path, known_milestones=1, known_samples=16)
    found = second.latest_checkpoint()
    assert found is not None
    assert (found / "weights").read_text() == "w"
    assert second.samples_seen == 24
    train(second, 64)
    assert again.signals == [(seen, 1 / seen) for seen in range(24, 65, 8)]
    again.close()


def test_scores_may_come_before_the_loss_of_the_same_samples(tmp_path: Path, worker: Worker) -> None:
    trial = worker.trial(tmp_path, levels=(16, 64), judged=("a", "b"))
    trial.report(samples_seen=15, scores={"a": 9.0})
    trial.report(samples_seen=16, loss=1.0, scores={"a": 1.0, "b": 2}, standard_errors={"a": 0.5})
    assert worker.milestones[0]["scores"] == {"a": 1.0, "b": 2.0}
    assert worker.milestones[0]["standard_errors"] == {"a": 0.5}


def test_a_milestone_without_the_objective_is_refused_and_told(tmp_path: Path, worker: Worker) -> None:
    trial = worker.trial(tmp_path)
    with pytest.raises(
        EntrypointError,
        match="at 16 samples was reported without 'eval/loss'.*did you mean 'eval_loss'".replace("did", "Did"),
    ):
        trial.report(samples_seen=16, loss=1.0, scores={"eval_loss": 1.0})
    assert worker.messages[-1]["kind"] == "misuse"
    assert worker.messages[-1]["error"][:2] == ["script.py:train", "scores"]


@pytest.mark.parametrize("field", ["loss", "grad_norm", "total_loss", "learning_rate"])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, worker: Worker, field: str) -> None:
    values = {"loss": 1.0, field: "high"}
    with pytest.raises(
        EntrypointError, match=f"{field} = 'high': must be a number" if field != "loss" else "must be a number"
    ):
        worker.trial(tmp_path).report(samples_seen=8, **values)


def test_values_that_are_not_finite_reach_the_worker(tmp_path: Path, worker: Worker) -> None:
    trial = worker.trial(tmp_path)
    train(trial, 16, loss=lambda seen: math.nan)
    assert all(math.isnan(loss) for _, loss in worker.signals)


def test_an_end_on_purpose_gives_the_last_scores_to_the_milestones_left(tmp_path: Path, worker: Worker) -> None:
    trial = worker.trial(tmp_path)
    train(trial, 16)
    trial.finish("it has converged")
    assert worker.milestones[-1]["indices"] == [1, 2]
    assert worker.milestones[-1]["scores"] == GOOD
    assert worker.milestones[-1]["samples_seen"] == 16
    assert trial.should_stop()


def test_a_trial_tells_its_configuration(tmp_path: Path, worker: Worker) -> None:
    config = TrialConfig("own", 8, 0.1, 60, {"width": 3}, "linear", warmup_unit="steps", warmup_amount=2, seed=5)
    trial = worker.trial(tmp_path, config=config, levels=(16, 60))
    assert (trial.params, trial.method, trial.seed) == ({"width": 3}, "own", 5)
    assert (trial.samples, trial.steps, trial.warmup_steps) == (60, 8, 2)
    assert (trial.milestones, trial.next_milestone, trial.metrics) == ((16, 60), 16, ("eval/loss",))
    assert [trial.learning_rate_at(step) for step in (0, 1, 2)] == [0.0, 0.05, 0.1]


def test_there_is_no_trial_outside_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATE_TRIAL", raising=False)
    assert current_trial() is None


def test_a_process_finds_its_trial_by_the_environment(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.worlds.own_worlds import assignment_for

    assignment_for(tmp_path).listening_at(worker.place).write(tmp_path / "trial.json")
    monkeypatch.setenv("ORCHESTRATE_TRIAL", str(tmp_path / "trial.json"))
    trial = current_trial()
    assert trial is not None
    train(trial, 16)
    assert worker.milestones[0]["samples_seen"] == 16
