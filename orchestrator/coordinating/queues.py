"""Which trials of a sweep wait for a slot, and for what reason; and how one is handed to a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.records import TrialConfig
from orchestrator.storage.trial_entries import TrialEntry


@dataclass(frozen=True)
class Assignment:
    """A trial to be trained on, and how many of its milestones are known already.

    ``takes`` says what it starts with, if not the base model (`Origin.takes`); ``levels`` are milestones of its own.
    """

    trial_id: str
    config: TrialConfig
    known_milestones: int
    takes: str = ""
    levels: tuple[int, ...] = ()

    @classmethod
    def of(cls, entry: TrialEntry) -> Assignment:
        """Return the assignment of a trial."""
        takes = "" if entry.origin is None or entry.origin.takes == "configuration" else entry.origin.takes
        return cls(entry.trial_id, entry.config, entry.milestones, takes, entry.levels)


@dataclass
class Queues:
    """Trials by id, each queue in its own order.

    Args:
        fresh: Trials of the search that have not begun in this process.
        asked: Trials that a user asked for by name.
        promoted: Paused trials that may go on.
        condemned: Trials that have ended while Ray still holds them.
    """

    fresh: deque[str] = field(default_factory=deque)
    asked: deque[str] = field(default_factory=deque)
    promoted: deque[str] = field(default_factory=deque)
    condemned: deque[str] = field(default_factory=deque)

    def next_asked(self) -> str | None:
        """Return the next trial that a user asked for; one that Ray has not let go of yet has to wait."""
        return self.free(self.asked)

    def free(self, queue: Iterable[str]) -> str | None:
        """Return the first of a queue that Ray does not hold any more."""
        return next((trial_id for trial_id in queue if trial_id not in self.condemned), None)

    def leave(self, trial_id: str, *others: deque[str]) -> None:
        """Take a trial out of all queues where it waits, of others too."""
        for queue in (self.fresh, self.asked, self.promoted, *others):
            if trial_id in queue:
                queue.remove(trial_id)
