"""The outbox file and the thread that empties it, against a sink in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.tracking.events import Event, EventKind, SinkError
from orchestrator.tracking.in_memory import MemorySink
from orchestrator.tracking.outbox.outbox import Acknowledged, Outbox, event_line, read_event
from orchestrator.tracking.outbox.outbox_tracker import OutboxTracker
from orchestrator.tracking.tracker import SweepInfo


class MoodySink(MemorySink):
    """A store in memory that can be away, and that refuses a tag named ``poison`` for good."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.deliveries = 0

    def deliver(self, events: Sequence[Event]) -> None:
        if self.away:
            raise SinkError("nobody answers")
        if any("poison" in event.body.get("tags", {}) for event in events):
            raise SinkError("a tag may not be named poison", permanent=True)
        self.deliveries += 1
        super().deliver(events)


def _event(index: int, **body: Any) -> Event:
    return Event(EventKind.TAGS, "t", 1000 + index, {"tags": {f"k{index}": "v"}, **body}, (f"key{index}",))


def _tracker(tmp_path: Path, sink: MemorySink) -> OutboxTracker:
    tracker = OutboxTracker(tmp_path / "s" / "outbox.jsonl", lambda: sink, "memory")
    tracker.start_sweep(SweepInfo("s", "s"))
    return tracker


def test_event_survives_its_line_with_nan_and_unicode() -> None:
    event = Event(EventKind.METRICS, "t", 5, {"series": {"a": [[1], [2], [float("nan")]], "b": "naïve\n"}}, ("k",))
    assert repr(read_event(event_line(event))) == repr(event)
    assert event_line(event).count(b"\n") == 1


def test_outbox_reads_back_in_order_across_small_reads(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "new" / "outbox.jsonl")
    for index in range(50):
        outbox.append(_event(index))
    offset, seen = 0, []
    while offset < outbox.size:
        events, offset = outbox.read(offset, 70)
        assert events
        seen += events
    assert [event.timestamp_ms for event in seen] == [1000 + index for index in range(50)]


def test_outbox_cuts_a_torn_last_line_and_skips_a_damaged_one(tmp_path: Path) -> None:
    file = tmp_path / "outbox.jsonl"
    outbox = Outbox(file)
    outbox.append(_event(0))
    outbox.close()
    with file.open("ab") as stream:
        stream.write(b"garbage\n" + event_line(_event(1)) + event_line(_event(2))[:-9])
    outbox = Outbox(file)
    outbox.append(_event(3))
    assert [event.keys[0] for event in outbox.events()] == ["key0", "key1", "key3"]
    assert outbox.damaged == 1


def test_outbox_forgets_an_acknowledgement_beyond_its_end(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.jsonl")
    outbox.append(_event(0))
    outbox.acknowledge(Acknowledged("sink", outbox.size, {"": "r"}, "7"))
    assert outbox.acknowledged() == Acknowledged("sink", outbox.size, {"": "r"}, "7")
    outbox.acknowledge(Acknowledged("sink", outbox.size + 1, {"": "r"}, "7"))
    assert outbox.acknowledged() == Acknowledged()


def test_outbox_full_disk_keeps_events_in_memory_and_says_so() -> None:
    outbox = Outbox(Path("/dev/full"))
    outbox.append(_event(0))
    outbox.append(_event(1))
    assert outbox.unsaved == 2
    assert "No space left" in outbox.error


def test_outbox_unwritable_folder_recovers_when_mended(tmp_path: Path) -> None:
    obstacle = tmp_path / "s"
    obstacle.write_text("a file where a folder should be")
    outbox = Outbox(obstacle / "outbox.jsonl")
    outbox.append(_event(0))
    assert outbox.unsaved == 1
    assert outbox.error
    obstacle.unlink()
    outbox.append(_event(1))
    assert (outbox.unsaved, outbox.error) == (0, "")
    assert [event.keys[0] for event in outbox.events()] == ["key0", "key1"]


def test_tracker_with_unwritable_outbox_warns_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file where a folder should be")
    tracker = _tracker(tmp_path, MemorySink())
    assert tracker.health.unsaved_events > 0
    assert "cannot be written" in tracker.health.warning()
    assert not tracker.flush(0.2)
    tracker.close(0.2)


def test_delivery_waits_out_an_absent_store(tmp_path: Path) -> None:
    sink = MoodySink()
    sink.away = True
    tracker = _tracker(tmp_path, sink)
    assert not tracker.flush(0.3)
    assert "nobody answers" in tracker.health.warning()
    sink.away = False
    assert tracker.flush(5)
    assert tracker.health.ok
    assert sink.runs[""].status == "RUNNING"
    tracker.close()


def test_delivery_sets_aside_what_the_store_refuses_for_good(tmp_path: Path) -> None:
    sink = MoodySink()
    tracker = _tracker(tmp_path, sink)
    for index in range(9):
        tracker.set_sweep_tags({"poison" if index == 4 else f"tag{index}": "x"})
    assert tracker.flush(5)
    assert tracker.health.rejected_events == 1
    assert {f"tag{index}" for index in range(9) if index != 4} <= set(sink.runs[""].tags)
    tracker.close()
    assert b"poison" in (tmp_path / "s" / "outbox.rejected.jsonl").read_bytes()


def test_delivery_starts_anew_when_the_store_was_emptied(tmp_path: Path) -> None:
    first = MemorySink()
    tracker = _tracker(tmp_path, first)
    tracker.set_sweep_tags({"early": "x"})
    assert tracker.flush(5)
    tracker.close()
    second = MemorySink()
    tracker = _tracker(tmp_path, second)
    assert tracker.flush(5)
    tracker.close()
    assert second.runs[""].tags["early"] == "x"


def test_delivery_opens_a_slow_store_in_the_background(tmp_path: Path) -> None:
    class SlowSink(MemorySink):
        def open(self, known_run_ids: Mapping[str, str]) -> bool:
            time.sleep(0.5)
            return super().open(known_run_ids)

    began = time.perf_counter()
    tracker = _tracker(tmp_path, SlowSink())
    assert time.perf_counter() - began < 0.25
    assert tracker.flush(5)
    tracker.close()


def test_delivery_takes_many_events_in_few_deliveries(
    tmp_path: Path, make_trial: Callable, make_signals: Callable
) -> None:
    sink = MoodySink()
    sink.away = True
    tracker = _tracker(tmp_path, sink)
    tracker.start_trial(make_trial("t"))
    for step in range(1, 201):
        tracker.log_signals("t", make_signals(step, step))
    sink.away = False
    assert tracker.flush(5)
    tracker.close()
    assert len(sink.runs["t"].metrics["train/loss"]) == 200
    assert sink.deliveries <= 3


def test_tracker_copies_artifact_files(tmp_path: Path) -> None:
    sink = MemorySink()
    source = tmp_path / "report.md"
    source.write_text("told")
    tracker = _tracker(tmp_path, sink)
    tracker.log_artifact(source, "reports")
    source.unlink()
    assert tracker.flush(5)
    tracker.close()
    assert sink.runs[""].artifacts == {"reports/report.md": "told"}
