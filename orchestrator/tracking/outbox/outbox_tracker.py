"""The tracker used in earnest: calls become events in an outbox, a thread takes them to a sink."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.tracking.event_tracker import EventTracker
from orchestrator.tracking.events import Sink
from orchestrator.tracking.outbox.delivery import Delivery
from orchestrator.tracking.outbox.outbox import Outbox
from orchestrator.tracking.tracker import AskedAction, TrackerHealth


class OutboxTracker(EventTracker):
    """A `Tracker` that survives outages of its store and crashes of its process.

    Args:
        outbox_file: Events on their way; reopening the same file continues the same runs.
        make_sink: Makes the sink, in the delivery thread.
        sink_name: Which store the sink writes to (its URI).
    """

    def __init__(self, outbox_file: Path, make_sink: Callable[[], Sink], sink_name: str) -> None:
        self._outbox = Outbox(outbox_file)
        super().__init__(self._outbox.append)
        self._replay(self._outbox.events())
        self._delivery = Delivery(self._outbox, make_sink, sink_name)

    @property
    def run_ids(self) -> Mapping[str, str]:
        """See `Tracker.run_ids`."""
        return self._delivery.run_ids

    @property
    def experiment_id(self) -> str:
        """See `Tracker.experiment_id`."""
        return self._delivery.experiment_id

    @property
    def health(self) -> TrackerHealth:
        """See `Tracker.health`."""
        return replace(
            super().health,
            pending_bytes=self._delivery.pending_bytes,
            unsaved_events=self._outbox.unsaved,
            lost_events=self._outbox.lost + self._outbox.damaged,
            rejected_events=self._delivery.rejected,
            last_error=self._delivery.last_error or self._outbox.error,
            delivering=self._delivery.alive,
        )

    def log_artifact(self, file: Path, folder: str = "") -> None:
        """See `Tracker.log_artifact`; the copy makes later changes of the file harmless."""
        copy = self._outbox.files_folder / folder / file.name
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            temporary = copy.with_name(f"{copy.name}.tmp")
            shutil.copyfile(file, temporary)
            os.replace(temporary, copy)
        except OSError:
            # No room for a copy: the original may still be there when its turn comes.
            copy = file
        super().log_artifact(copy, folder)

    def asked_actions(self) -> Sequence[AskedAction]:
        """See `Tracker.asked_actions`; the delivery thread asks the store."""
        return [AskedAction(run, text) for run, text in self._delivery.desk.take()]

    def answer_action(self, trial_id: str, text: str) -> None:
        """See `Tracker.answer_action`."""
        super().answer_action(trial_id, text)
        # In this order: an answer that counts as given must be in the outbox.
        self._delivery.desk.answer(trial_id)

    def flush(self, timeout_seconds: float) -> bool:
        """See `Tracker.flush`."""
        return self._delivery.flush(timeout_seconds)

    def close(self, timeout_seconds: float = 10.0) -> None:
        """See `Tracker.close`."""
        self._delivery.close(timeout_seconds)
        self._outbox.close()

    def abandon(self) -> None:
        """Stop as a crash would: nothing is flushed (tests of recovery)."""
        self._delivery.abandon()
