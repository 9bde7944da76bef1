"""The delivery thread: takes events from the outbox to a sink, in order, in big batches, for as long as it takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from orchestrator.tracking.events import Event, Sink, SinkError
from orchestrator.tracking.outbox.outbox import Acknowledged, Outbox
from orchestrator.tracking.tag_actions import ActionDesk

_LOG = logging.getLogger(__name__)
BATCH_BYTES = 1 << 20
POLL_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
ASK_SECONDS = 10.0
"""How often the store is asked for actions that users set as tags."""


class Delivery:
    """Delivers an outbox in a daemon thread.

    Args:
        outbox: Where events come from.
        make_sink: Called in the thread, so that a slow import does not delay the sweep's start.
        sink_name: Which store this is; an outbox delivered to another store before is delivered anew.
    """

    def __init__(self, outbox: Outbox, make_sink: Callable[[], Sink], sink_name: str) -> None:
        self._outbox, self._make_sink, self._sink_name = outbox, make_sink, sink_name
        state = outbox.acknowledged()
        self._state = state if state.sink == sink_name else Acknowledged(sink=sink_name)
        self._sink: Sink | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._ending_at = float("inf")
        self.last_error = ""
        self.rejected = 0
        self.desk = ActionDesk()
        self._asked_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="tracking-delivery", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still delivers, or was told to end."""
        return self._thread.is_alive() or self._stop.is_set()

    @property
    def pending_bytes(self) -> int:
        """Bytes of the outbox that no sink has taken yet."""
        return self._outbox.size - self._state.offset

    @property
    def run_ids(self) -> Mapping[str, str]:
        """Run ids known so far, by run key."""
        return self._state.run_ids

    @property
    def experiment_id(self) -> str:
        """Experiment id, empty while unknown."""
        return self._state.experiment_id

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the outbox as it now stands is delivered; False when time ran out."""
        self._outbox.retry()
        target = self._outbox.size
        ends = time.monotonic() + timeout_seconds
        with self._progress:
            while self._state.offset < target or self._outbox.unsaved:
                left = ends - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._wake.set()
                self._progress.wait(min(left, POLL_SECONDS))
        return True

    def close(self, timeout_seconds: float) -> None:
        """Stop the thread once everything is delivered, or time has run out."""
        self.flush(timeout_seconds)
        self._stop.set()
        self._wake.set()
        # A sink that hangs in a network call cannot be interrupted; the thread is a daemon.
        self._thread.join(timeout=min(5.0, max(0.5, timeout_seconds)))

    def abandon(self) -> None:
        """Stop without delivering what waits, as a killed process would (tests of recovery)."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stop.is_set():
            try:
                delivered = self._deliver_once()
                if not delivered:
                    self._ask_for_actions()
            except (SinkError, OSError) as error:
                self.last_error = " ".join(str(error).split())[:300]
                # New events do not wake it (a store that is away is not asked at each of them); a flush does.
                self._wake.wait(pause)
                self._wake.clear()
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            if not delivered:
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()
        if self._sink is not None:
            self._sink.close()

    def _deliver_once(self) -> bool:
        """Deliver one batch; False when nothing waits."""
        sink = self._connected()
        self._outbox.retry()
        if self._outbox.size <= self._state.offset:
            self.last_error = ""
            return False
        # What is acknowledged must be on disk, or a power cut could leave the mark beyond the end.
        self._outbox.sync()
        events, offset = self._outbox.read(self._state.offset, BATCH_BYTES)
        self._hand_over(sink, events)
        state = Acknowledged(self._sink_name, offset, dict(sink.run_ids), sink.experiment_id)
        self._outbox.acknowledge(state)
        with self._progress:
            self._state = state
            self._progress.notify_all()
        self.last_error = ""
        return True

    def _ask_for_actions(self) -> None:
        """Take in what users set as tags, once all their earlier answers are in the store."""
        if time.monotonic() - self._asked_at < ASK_SECONDS:
            return
        answered = self.desk.answered
        if self._outbox.size > self._state.offset:
            return
        self.desk.put(self._connected().asked(), answered)
        self._asked_at = time.monotonic()

    def _connected(self) -> Sink:
        if self._sink is None:
            sink = self._make_sink()
            if not sink.open(self._state.run_ids):
                # The store was replaced or emptied: everything is told again.
                self._state = Acknowledged(sink=self._sink_name)
            self._sink = sink
        return self._sink

    def _hand_over(self, sink: Sink, events: Sequence[Event]) -> None:
        """Deliver a batch; when the store refuses it for good, find the events it refuses and set them aside."""
        try:
            sink.deliver(events)
        except SinkError as error:
            if not error.permanent:
                raise
            if len(events) > 1:
                half = len(events) // 2
                self._hand_over(sink, events[:half])
                self._hand_over(sink, events[half:])
                return
            self.rejected += len(events)
            for event in events:
                _LOG.warning("the tracking store refuses an event of run %r: %s", event.run, error)
                self._outbox.reject(event, str(error))
