"""What a tracker makes of audits, repeats, and of a winner that changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.records import Action, Decision, Outcome, Role
from orchestrator.tracking.tracker import SweepOutcome

WAIT_SECONDS = 60


def _stop(tracker: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable) -> None:
    tracker.start_trial(make_trial("t"))
    tracker.log_signals("t", make_signals(1, 10))
    tracker.log_decision(stop_decision("t"))
    tracker.end_trial("t", Outcome.STOPPED, 160, decision=stop_decision("t"))


def _audit(make_trial: Callable) -> Any:
    info = make_trial("t")
    return replace(info, name=f"{info.name} · audit", role=Role.AUDIT, begun_again=1)


def _done(trial_id: str, rule: str) -> Decision:
    return Decision(trial_id, 320, Action.CONTINUE, rule, "dense", f"{rule} done")


def test_audit_opens_the_run_again_and_ends_it(
    backend: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable
) -> None:
    tracker = backend.open()
    _stop(tracker, make_trial, make_signals, stop_decision)
    tracker.start_trial(make_trial("t"))  # nothing: it has ended
    tracker.start_trial(_audit(make_trial))
    tracker.log_signals("t", make_signals(1, 20))  # the first ten are known
    tracker.end_trial("t", Outcome.COMPLETED, 320, decision=_done("t", "audit"))
    tracker.start_trial(_audit(make_trial))  # nothing: the audit has ended, too
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(WAIT_SECONDS)
    assert tracker.health.ok, tracker.health.warning()
    tracker.close()
    run = backend.read()["t"]
    assert (run.status, run.tags["outcome"], run.tags["role"]) == ("FINISHED", "completed", "audit")
    assert run.tags["stop.rule"] == stop_decision("t").rule, "why it was stopped stays"
    assert run.tags["verdict"].endswith("audit done")
    assert run.name.endswith("· audit")
    assert len(run.metrics["train/loss"]) == 20


def test_audit_that_was_interrupted_goes_on(
    backend: Any, make_trial: Callable, make_signals: Callable, stop_decision: Callable
) -> None:
    tracker = backend.open()
    _stop(tracker, make_trial, make_signals, stop_decision)
    tracker.start_trial(_audit(make_trial))
    tracker.end_sweep(SweepOutcome.INTERRUPTED)
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    assert backend.read()["t"].tags["outcome"] == "interrupted"
    if backend.kind == "memory":
        return  # it does not outlive its process
    again = backend.open()
    again.start_trial(_audit(make_trial))
    again.end_trial("t", Outcome.COMPLETED, 320, decision=_done("t", "audit"))
    again.end_sweep(SweepOutcome.COMPLETED)
    assert again.flush(WAIT_SECONDS)
    again.close()
    assert (backend.read()["t"].status, backend.read()["t"].tags["outcome"]) == ("FINISHED", "completed")


def test_repeats_carry_their_role(backend: Any, make_trial: Callable) -> None:
    tracker = backend.open()
    tracker.start_trial(make_trial("search"))
    tracker.start_trial(replace(make_trial("repeat"), role=Role.REPEAT))
    tracker.end_trial("repeat", Outcome.COMPLETED, 320, decision=_done("repeat", "repeat"))
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    runs = backend.read()
    assert (runs["search"].tags["role"], runs["repeat"].tags["role"]) == ("search", "repeat")
    assert runs["repeat"].tags["verdict"] == "completed at 320 samples: repeat done"


def test_a_new_winner_takes_the_star(backend: Any, make_trial: Callable) -> None:
    tracker = backend.open()
    for trial_id in ("first", "second"):
        tracker.start_trial(make_trial(trial_id))
        tracker.end_trial(trial_id, Outcome.COMPLETED, 320)
    tracker.mark_winner("first", "lowest loss")
    tracker.mark_winner("second", "lowest mean loss")
    assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    runs = backend.read()
    assert runs["second"].name.startswith("★")
    assert (runs["second"].tags["winner"], runs[""].tags["winner.trial"]) == ("true", "second")
    assert not runs["first"].name.startswith("★")
    assert runs["first"].tags["winner"] == "false"
    assert runs["first"].tags["verdict"].startswith("was the winner until")
