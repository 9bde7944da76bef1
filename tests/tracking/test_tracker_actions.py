"""Actions that users set as tags: every tracker hands each out once, and puts what became of it in the tag's place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.records import Outcome
from orchestrator.tracking.in_memory import MemorySink
from orchestrator.tracking.no_tracker import NoTracker
from orchestrator.tracking.outbox import delivery
from orchestrator.tracking.tag_actions import ActionDesk
from orchestrator.tracking.tracker import ACTION_TAG, AskedAction

WAIT_SECONDS = 60


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ASK_SECONDS", 0.0)


def heard(tracker: Any) -> list[AskedAction]:
    """Wait for the next actions; the delivery thread asks the store in its own time."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        found = list(tracker.asked_actions())
        if found:
            return found
        tracker.flush(1)
        time.sleep(0.05)
    raise AssertionError("no action was heard of")


def begun(backend: Any, make_trial: Callable) -> Any:
    tracker = backend.open()
    for trial_id in ("a", "b"):
        tracker.start_trial(make_trial(trial_id))
    assert tracker.flush(WAIT_SECONDS)
    return tracker


def test_contract_action_is_handed_out_once_and_answered(backend: Any, make_trial: Callable) -> None:
    tracker = begun(backend, make_trial)
    assert list(tracker.asked_actions()) == []
    backend.set_tag("a", ACTION_TAG, "clone learning_rate=1e-4")
    assert heard(tracker) == [AskedAction("a", "clone learning_rate=1e-4")]
    # The store shows it until the answer is there; whoever hears of the other one has looked at it once more.
    backend.set_tag("b", ACTION_TAG, "stop")
    assert heard(tracker) == [AskedAction("b", "stop")]
    tracker.answer_action("a", "done: it is trained")
    tracker.answer_action("b", "refused: it has ended")
    assert tracker.flush(WAIT_SECONDS)
    tracker.log_sweep_metrics({"x": 1.0}, 1)
    assert tracker.flush(WAIT_SECONDS)
    assert list(tracker.asked_actions()) == []
    tracker.close()
    runs = backend.read()
    assert runs["a"].tags[ACTION_TAG] == "done: it is trained"
    assert runs["b"].tags[ACTION_TAG] == "refused: it has ended"


def test_contract_same_action_can_be_asked_again(backend: Any, make_trial: Callable) -> None:
    tracker = begun(backend, make_trial)
    for _ in range(2):
        backend.set_tag("a", ACTION_TAG, "stop")
        assert heard(tracker) == [AskedAction("a", "stop")]
        tracker.answer_action("a", "refused: it has ended")
        assert tracker.flush(WAIT_SECONDS)
    tracker.close()
    assert backend.read()["a"].tags[ACTION_TAG] == "refused: it has ended"


def test_contract_action_on_a_run_that_has_ended_is_heard(
    backend: Any, make_trial: Callable, stop_decision: Callable
) -> None:
    tracker = begun(backend, make_trial)
    tracker.end_trial("a", Outcome.STOPPED, 160, decision=stop_decision("a"))
    assert tracker.flush(WAIT_SECONDS)
    backend.set_tag("a", ACTION_TAG, "resume")
    backend.set_tag("", ACTION_TAG, "stop")
    found = heard(tracker)
    found += heard(tracker) if len(found) < 2 else []
    assert set(found) == {AskedAction("a", "resume"), AskedAction("", "stop")}
    tracker.close()


def test_contract_unanswered_action_comes_again_in_the_next_session(backend: Any, make_trial: Callable) -> None:
    if backend.kind == "memory":
        return  # it does not outlive its process
    tracker = begun(backend, make_trial)
    backend.set_tag("a", ACTION_TAG, "stop")
    assert heard(tracker) == [AskedAction("a", "stop")]
    tracker.abandon()
    again = backend.open()
    assert heard(again) == [AskedAction("a", "stop")]
    again.close()


def test_no_tracker_hears_nothing() -> None:
    tracker = NoTracker()
    tracker.answer_action("a", "done: nothing")
    assert list(tracker.asked_actions()) == []


def test_desk_keeps_an_action_back_until_its_answer_was_in_the_store() -> None:
    desk = ActionDesk()
    desk.put({"a": "stop"}, desk.answered)
    assert desk.take() == [("a", "stop")]
    in_flight = desk.answered  # the store is asked before the answer is on its way
    desk.answer("a")
    desk.put({"a": "stop"}, in_flight)
    assert desk.take() == []
    desk.put({"a": "stop"}, desk.answered)
    assert desk.take() == [("a", "stop")], "asked again after the answer"


def test_store_that_fails_to_answer_is_asked_again(tmp_path: Any) -> None:
    from orchestrator.tracking.events import SinkError
    from orchestrator.tracking.outbox.outbox_tracker import OutboxTracker
    from orchestrator.tracking.tracker import SweepInfo

    class Moody(MemorySink):
        fails = 2

        def asked(self) -> dict[str, str]:
            if self.fails:
                self.fails -= 1
                raise SinkError("away")
            return {"": "stop"}

    sink = Moody()
    tracker = OutboxTracker(tmp_path / "outbox.jsonl", lambda: sink, "moody")
    tracker.start_sweep(SweepInfo("s", "s"))
    assert heard(tracker) == [AskedAction("", "stop")]
    tracker.close()
