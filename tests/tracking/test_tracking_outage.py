"""Crashes and outages: nothing lost, nothing twice, nobody waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orchestrator.records import Outcome
from orchestrator.tracking.tracker import SweepOutcome

WAIT_SECONDS = 60
LONGEST_CALL_SECONDS = 0.05


def _reached(runs: dict[str, Any], trial_id: str, key: str = "train/loss") -> list[int]:
    return [row[0] for row in runs[trial_id].metrics[key]]


def test_outage_server_away_half_way_loses_nothing_and_holds_up_nobody(
    server: Any, server_backend: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable
) -> None:
    tracker = server_backend.open()
    tracker.start_trial(make_trial("before"))
    tracker.log_signals("before", make_signals(1, 10))
    assert tracker.flush(WAIT_SECONDS)
    server.stop()
    try:
        slowest = 0.0
        calls: list[Callable[[], None]] = [lambda: tracker.start_trial(make_trial("during"))]
        for step in range(1, 21):
            calls.append(lambda step=step: tracker.log_signals("during", make_signals(step, step)))
            calls.append(lambda step=step: tracker.log_scores("during", step * 16, {"held_out/loss": 1 / step}))
        calls.append(lambda: tracker.log_signals("before", make_signals(11, 20)))
        calls.append(
            lambda: tracker.end_trial("before", Outcome.STOPPED, 320, decision=stop_decision("before", seen=320))
        )
        for call in calls:
            began = time.perf_counter()
            call()
            slowest = max(slowest, time.perf_counter() - began)
        assert slowest < LONGEST_CALL_SECONDS
        assert not tracker.flush(1.0)
        assert not tracker.health.ok
        assert tracker.health.pending_bytes > 0
        assert "tracking is behind" in tracker.health.warning()
    finally:
        server.start()
    tracker.end_trial("during", Outcome.COMPLETED, 320)
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    tracker.close()
    runs = server_backend.read()
    assert set(runs) == {"", "before", "during"}
    assert _reached(runs, "before") == _reached(runs, "during") == [step * 16 for step in range(1, 21)]
    assert _reached(runs, "during", "held_out/loss") == [step * 16 for step in range(1, 21)]
    assert [runs[key].status for key in ("", "before", "during")] == ["FINISHED", "KILLED", "FINISHED"]


def test_crash_reopened_outbox_continues_the_same_runs_without_duplicates(
    sqlite_backend: Any, make_trial: Callable, make_signals: Callable
) -> None:
    tracker = sqlite_backend.open()
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 8))
    tracker.log_scores("t", 128, {"held_out/loss": 1.0})
    assert tracker.flush(WAIT_SECONDS)
    ids = dict(tracker.run_ids)
    tracker.abandon()
    tracker.log_signals("t", make_signals(9, 12))

    tracker = sqlite_backend.open()
    assert dict(tracker.run_ids) == ids
    tracker.start_trial(make_trial("t"))
    # The driver resumes from an older checkpoint: a milestone is trained and reported again.
    tracker.log_signals("t", make_signals(5, 10))
    tracker.log_scores("t", 128, {"held_out/loss": 1.0})
    tracker.log_signals("t", make_signals(11, 20))
    tracker.end_trial("t", Outcome.COMPLETED, 320)
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(WAIT_SECONDS)
    assert dict(tracker.run_ids) == ids
    tracker.close()
    runs = sqlite_backend.read()
    assert {key: run.run_id for key, run in runs.items()} == ids
    assert _reached(runs, "t") == [step * 16 for step in range(1, 21)]
    assert _reached(runs, "t", "held_out/loss") == [128]


def test_crash_lost_acknowledgement_is_redelivered_and_leaves_no_duplicate(
    sqlite_backend: Any, make_trial: Callable, make_signals: Callable
) -> None:
    tracker = sqlite_backend.open()
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 20, loss=float("nan")))
    tracker.log_scores("t", 320, {"held_out/loss": 1.0})
    tracker.end_trial("t", Outcome.COMPLETED, 320)
    assert tracker.flush(WAIT_SECONDS)
    tracker.abandon()
    before = sqlite_backend.read()
    sqlite_backend.outbox_file.with_suffix(".ack.json").unlink()
    with sqlite_backend.outbox_file.open("ab") as stream:
        stream.write(b'["metrics","t",17')
    tracker = sqlite_backend.open()
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    tracker.close()
    after = sqlite_backend.read()
    assert {key: run.run_id for key, run in after.items()} == {key: run.run_id for key, run in before.items()}
    assert after["t"].metrics == before["t"].metrics
    assert after["t"].datasets == before["t"].datasets
    assert after["t"].status == "FINISHED"


def test_crash_of_an_older_sweep_in_the_same_folder_is_reconciled(sqlite_backend: Any, make_trial: Callable) -> None:
    tracker = sqlite_backend.open(sweep_id="old")
    tracker.start_trial(make_trial("old-trial"))
    assert tracker.flush(WAIT_SECONDS)
    tracker.abandon()
    sqlite_backend.outbox_file.unlink()
    tracker = sqlite_backend.open(sweep_id="new", experiment=sqlite_backend.sweep)
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()

    from mlflow.tracking import MlflowClient

    client = MlflowClient(sqlite_backend.uri)
    experiment = client.get_experiment_by_name(sqlite_backend.sweep)
    runs = client.search_runs([experiment.experiment_id])
    told = {(run.data.tags["orchestrate.sweep_id"], run.info.status, run.data.tags["outcome"]) for run in runs}
    assert told == {("old", "KILLED", "abandoned"), ("new", "RUNNING", "running")}


def test_other_store_gets_the_whole_story(
    sqlite_backend: Any, server_backend: Any, make_trial: Callable, make_signals: Callable
) -> None:
    tracker = sqlite_backend.open()
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 20))
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    server_backend.sweep, server_backend.folder = sqlite_backend.sweep, sqlite_backend.folder
    tracker = server_backend.open()
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    assert _reached(server_backend.read(), "t") == [step * 16 for step in range(1, 21)]
