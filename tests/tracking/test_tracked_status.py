"""status and watch from MLflow alone: what a tracker told is read back as sweeps and trials, on every store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.api import tracked_sweep, tracked_sweeps, watch_tracked
from orchestrator.api.follow.tracked_status import SILENT_SECONDS
from orchestrator.errors import TrackingError
from orchestrator.records import Action, Decision, Outcome
from orchestrator.results.records import SweepView
from orchestrator.tracking.tracker import SweepOutcome

WAIT_SECONDS = 60


@pytest.fixture(params=["sqlite_backend", "server_backend"])
def told(
    request: pytest.FixtureRequest, make_trial: Callable, make_signals: Callable, stop_decision: Callable
) -> tuple[Any, Any]:
    """A running sweep of four planned trials: one done, one stopped, one paused."""
    backend = request.getfixturevalue(request.param)
    params = {"trials": 4, "samples_per_trial": 320, "objective": "held_out/loss", "mode": "min"}
    tracker = backend.open(params=params, tags={"spec.digest": "abc", "host": "far"})
    for trial_id, loss in (("done", 1.25), ("stopped", 1.5), ("waits", 1.4)):
        tracker.start_trial(make_trial(trial_id))
        tracker.log_signals(trial_id, make_signals(1, 10))
        tracker.log_scores(trial_id, 160, {"held_out/loss": loss})
    tracker.end_trial("done", Outcome.COMPLETED, 320)
    tracker.end_trial("stopped", Outcome.STOPPED, 160, decision=stop_decision("stopped"))
    tracker.log_decision(Decision("waits", 160, Action.PAUSE, "rungs", "dense", "ranks 2 of 4 so far"))
    return backend, tracker


def test_running_sweep_is_read_back(told: tuple[Any, Any]) -> None:
    backend, tracker = told
    tracker.set_sweep_tags({"orchestrate.beat": f"{time.time():.0f}"})
    assert tracker.flush(WAIT_SECONDS)
    status = tracked_sweep(backend.uri, backend.sweep)
    assert (status.status, status.driver, status.location) == ("running", "far", backend.uri)
    assert (status.samples_trained, status.samples_exhaustive) == (320 + 160 + 160, 4 * 320)
    assert {name: count for name, count in status.counts.items() if count} == {
        "completed": 1,
        "stopped": 1,
        "paused": 1,
        "pending": 1,
    }
    assert [trial.trial_id for trial in status.trials] == ["done", "waits", "stopped"]
    assert status.best is not None
    assert (status.best.trial_id, status.best.objective) == ("done", 1.25)
    stopped = status.trials[2]
    assert (stopped.outcome, stopped.samples_seen, stopped.samples) == (Outcome.STOPPED, 160, 320)
    assert stopped.reason
    assert stopped.loss == pytest.approx(1.99)
    assert stopped.name == "lora r16 lr3e-4 ebs16 s0"
    listed = {sweep.name: sweep for sweep in tracked_sweeps(backend.uri)}
    assert (listed[backend.sweep].status, listed[backend.sweep].trials) == ("running", ())
    tracker.close()


def test_silent_driver_counts_as_interrupted_and_the_end_ends_the_watch(told: tuple[Any, Any]) -> None:
    backend, tracker = told
    tracker.set_sweep_tags({"orchestrate.beat": f"{time.time() - 2 * SILENT_SECONDS:.0f}"})
    assert tracker.flush(WAIT_SECONDS)
    assert tracked_sweep(backend.uri, backend.sweep).status == "interrupted"
    tracker.set_sweep_tags({"orchestrate.beat": f"{time.time():.0f}"})
    assert tracker.flush(WAIT_SECONDS)
    views: list[SweepView] = []

    def observe(view: SweepView) -> None:
        if not views:
            tracker.end_trial("waits", Outcome.COMPLETED, 320)
            tracker.mark_winner("waits", "chosen by its repeats")
            tracker.end_sweep(SweepOutcome.COMPLETED)
            assert tracker.flush(WAIT_SECONDS)
        views.append(view)

    status = watch_tracked(backend.uri, backend.sweep, observe, every_seconds=0.05)
    assert (status.status, len(views)) == ("completed", 2)
    assert status.best is not None
    assert status.best.trial_id == "waits", "the winner that the sweep named, not the lowest score"
    assert views[-1].counts["completed"] == 2
    tracker.close()


def test_unknown_sweep_names_the_nearest(told: tuple[Any, Any]) -> None:
    backend, tracker = told
    assert tracker.flush(WAIT_SECONDS)
    with pytest.raises(TrackingError, match=f"did you mean '{backend.sweep}'|Did you mean '{backend.sweep}'"):
        tracked_sweep(backend.uri, f"{backend.sweep}x")
    tracker.close()


def test_status_dictionary_is_json(told: tuple[Any, Any]) -> None:
    backend, tracker = told
    assert tracker.flush(WAIT_SECONDS)
    values = json.loads(json.dumps(tracked_sweep(backend.uri, backend.sweep).as_dict()))
    assert values["trials"][0]["outcome"] == "completed"
    tracker.close()
