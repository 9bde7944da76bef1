"""A tracker that remembers in memory, for tests, dry runs and the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.tracking.event_tracker import EventTracker
from orchestrator.tracking.events import SWEEP, Event, EventKind
from orchestrator.tracking.tag_actions import ActionDesk
from orchestrator.tracking.tracker import ACTION_TAG, ANSWERS, AskedAction
from orchestrator.tracking.trackers import TrackerTask


@dataclass(slots=True)
class MemoryRun:
    """One run as a store would show it.

    ``metrics`` maps a key to (step, timestamp in ms, value) rows, ``artifacts`` a path to the file's text.
    """

    name: str = ""
    status: str = "RUNNING"
    parent: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    datasets: list[Mapping[str, object]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)


class MemorySink:
    """A `Sink` whose store is a dictionary of runs."""

    def __init__(self) -> None:
        self.runs: dict[str, MemoryRun] = {}
        self.experiment_id = "memory"

    @property
    def run_ids(self) -> Mapping[str, str]:
        """Run keys serve as ids."""
        return {run: f"memory-{run or 'sweep'}" for run in self.runs}

    def open(self, known_run_ids: Mapping[str, str]) -> bool:
        """See `Sink.open`."""
        return set(known_run_ids) <= set(self.runs)

    def deliver(self, events: Sequence[Event]) -> None:
        """See `Sink.deliver`."""
        for event in events:
            self._apply(self.runs.setdefault(event.run, MemoryRun()), event)

    def asked(self) -> Mapping[str, str]:
        """See `Sink.asked`."""
        asked = {key: run.tags[ACTION_TAG] for key, run in self.runs.items() if ACTION_TAG in run.tags}
        return {key: text for key, text in asked.items() if not text.startswith(ANSWERS)}

    def close(self) -> None:
        """Nothing to let go of."""

    def _apply(self, run: MemoryRun, event: Event) -> None:
        body = event.body
        if event.kind is EventKind.METRICS:
            for key, (steps, times, values) in body["series"].items():
                rows = run.metrics.setdefault(key, [])
                # repr: NaN is not equal to itself, and a redelivered row must be found.
                there = {repr(row) for row in rows}
                rows += [row for row in zip(steps, times, values, strict=True) if repr(row) not in there]
        elif event.kind is EventKind.TEXT:
            run.artifacts[body["path"]] = body["text"]
        elif event.kind is EventKind.FILE:
            file = Path(body["file"])
            if file.is_file():
                run.artifacts[(Path(body["folder"]) / file.name).as_posix()] = file.read_text(errors="replace")
        else:
            run.name = body.get("name", run.name)
            run.tags |= body["tags"]
            run.status = body.get("status", "RUNNING" if event.kind is EventKind.OPEN else run.status)
        if event.kind is EventKind.OPEN:
            run.parent = None if event.run == SWEEP else SWEEP
            run.params |= body["params"]
            run.datasets = list(body["datasets"])


def check_uri(uri: str) -> None:
    """There is always room."""


def open_tracker(task: TrackerTask) -> MemoryTracker:
    """Return a tracker that forgets with this process."""
    tracker = MemoryTracker()
    tracker.start_sweep(task.sweep)
    return tracker


class MemoryTracker(EventTracker):
    """A `Tracker` that applies every call at once to `runs` (sweep under the empty string, trials by id)."""

    def __init__(self, sink: MemorySink | None = None) -> None:
        self._sink = sink or MemorySink()
        super().__init__(lambda event: self._sink.deliver([event]))
        self._desk = ActionDesk()

    @property
    def runs(self) -> dict[str, MemoryRun]:
        """Runs by key."""
        return self._sink.runs

    @property
    def run_ids(self) -> Mapping[str, str]:
        """See `Tracker.run_ids`."""
        return self._sink.run_ids

    @property
    def experiment_id(self) -> str:
        """See `Tracker.experiment_id`."""
        return self._sink.experiment_id

    def asked_actions(self) -> Sequence[AskedAction]:
        """See `Tracker.asked_actions`."""
        new = self._desk.sort(self._sink.asked(), self._desk.answered)
        return [AskedAction(run, text) for run, text in new]

    def answer_action(self, trial_id: str, text: str) -> None:
        """See `Tracker.answer_action`."""
        super().answer_action(trial_id, text)
        self._desk.answer(trial_id)

    def flush(self, timeout_seconds: float) -> bool:
        """Nothing waits."""
        return True

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Nothing to close."""
