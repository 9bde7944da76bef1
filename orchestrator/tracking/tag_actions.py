"""Which of the actions that a store's tags ask for are new: each is handed out once until its answer is in the store."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping


class ActionDesk:
    """Remembers what was handed out, as the store shows an action until its answer has been delivered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out: set[str] = set()
        self._answered: set[str] = set()
        self._new: list[tuple[str, str]] = []

    @property
    def answered(self) -> frozenset[str]:
        """Runs whose action has been answered, though the store may not know it yet."""
        with self._lock:
            return frozenset(self._answered)

    def answer(self, run: str) -> None:
        """An action has been answered; its answer is on its way to the store."""
        with self._lock:
            self._answered.add(run)

    def sort(self, asked: Mapping[str, str], delivered: Collection[str]) -> list[tuple[str, str]]:
        """Return the actions that have not been handed out, as (run, text).

        Args:
            asked: What the store shows.
            delivered: Runs whose answer was in the store before it was asked; what they ask now is new.
        """
        with self._lock:
            self._out -= set(delivered)
            self._answered -= set(delivered)
            new = [(run, text) for run, text in asked.items() if run not in self._out]
            self._out.update(run for run, _ in new)
            return new

    def put(self, asked: Mapping[str, str], delivered: Collection[str]) -> None:
        """Keep new actions (see `sort`) until they are taken; any thread may call this."""
        new = self.sort(asked, delivered)
        with self._lock:
            self._new += new

    def take(self) -> list[tuple[str, str]]:
        """Return what was kept, and keep it no more."""
        with self._lock:
            new, self._new = self._new, []
            return new
