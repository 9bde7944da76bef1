"""One rung: the trials of one cohort that were judged at one samples-seen level, in order of their result.

Successive halving (Jamieson & Talwalkar 2016; asynchronous form: Li et al. 2020, arXiv 1810.05934): the best
one in ``reduction_factor`` of the trials of a rung go on, rounded up. Diverged, failed and not-a-number
trials count in the size of the rung and rank last. Ties are broken by trial id, so that the outcome
does not depend on who arrives first.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.decisions.objective import WORST, Key, is_judgeable

Place = tuple[Key, str]
DIVERGED, FAILED = "diverged", "failed"
"""Why a result is `WORST`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One trial's result at one rung; ``fault`` says why a result is `WORST` (else empty)."""

    trial_id: str
    method: str
    key: Key
    fault: str = ""

    @property
    def place(self) -> Place:
        """Sort key: the result, then the trial id."""
        return (self.key, self.trial_id)


class Rung:
    """The judged trials of one cohort at one level.

    Args:
        index: Milestone index.
        level: Samples seen at this milestone.
        reduction_factor: One in this many goes on; None = all go on (a level judged by another rule alone).

    A trial is *waiting* from its arrival until `settle`.
    """

    def __init__(self, index: int, level: int, reduction_factor: float | None) -> None:
        self.index, self.level, self.reduction_factor = index, level, reduction_factor
        self.entries: dict[str, Entry] = {}
        self.promoted: set[str] = set()
        self._ranked: list[Place] = []
        self._ranked_by_method: dict[str, list[Place]] = {}
        self._waiting: list[Place] = []

    @property
    def where(self) -> str:
        """Its place in words."""
        return f"at milestone {self.index + 1} ({self.level:,} samples)"

    @property
    def size(self) -> int:
        """How many trials have arrived, those that rank last included."""
        return len(self.entries)

    def places(self, size: float) -> int:
        """Return how many of ``size`` trials go on."""
        if self.reduction_factor is None:
            return int(size)
        # The tiny margin keeps 11 / 1.1 from rounding up to 11.
        return math.ceil(size / self.reduction_factor - 1e-9)

    def record(self, entry: Entry, waiting: bool) -> None:
        """Take in a result; an earlier result of the same trial is replaced."""
        self.withdraw(entry.trial_id)
        self.entries[entry.trial_id] = entry
        if is_judgeable(entry.key):
            insort(self._ranked, entry.place)
            insort(self._ranked_by_method.setdefault(entry.method, []), entry.place)
        if waiting:
            insort(self._waiting, entry.place)

    def withdraw(self, trial_id: str) -> None:
        """Take a trial out as if it had never arrived; unknown trials are ignored."""
        entry = self.entries.pop(trial_id, None)
        if entry is None:
            return
        for ranked in (self._ranked, self._ranked_by_method.get(entry.method, []), self._waiting):
            _remove(ranked, entry.place)
        self.promoted.discard(trial_id)

    def settle(self, trial_id: str, promoted: bool) -> None:
        """End a trial's waiting."""
        _remove(self._waiting, self.entries[trial_id].place)
        if promoted:
            self.promoted.add(trial_id)

    def is_waiting(self, trial_id: str) -> bool:
        """Whether a trial has arrived and is not settled."""
        entry = self.entries.get(trial_id)
        return entry is not None and _holds(self._waiting, entry.place)

    def waiting(self) -> list[Entry]:
        """Return the waiting trials, best first."""
        return [self.entries[trial_id] for _, trial_id in self._waiting]

    def best_waiting(self) -> Iterator[Entry]:
        """Yield waiting trials, best first; do not settle while iterating."""
        return (self.entries[trial_id] for _, trial_id in self._waiting)

    def worst_waiting(self) -> Iterator[Entry]:
        """Yield waiting trials, worst first; do not settle while iterating."""
        return (self.entries[trial_id] for _, trial_id in reversed(self._waiting))

    @property
    def waiting_count(self) -> int:
        """How many trials wait."""
        return len(self._waiting)

    def rank(self, entry: Entry) -> int:
        """Return the 1-based rank among all that arrived; those that rank last share the last rank."""
        return self.size if not is_judgeable(entry.key) else 1 + bisect_left(self._ranked, entry.place)

    def rank_in_method(self, entry: Entry) -> int:
        """Return the 1-based rank among the trials of the same method."""
        return 1 + bisect_left(self._ranked_by_method.get(entry.method, []), entry.place)

    def best(self, method: str | None = None) -> Entry | None:
        """Return the best finite result, of one method or of all; None when there is none."""
        ranked = self._ranked if method is None else self._ranked_by_method.get(method, [])
        return self.entries[ranked[0][1]] if ranked else None

    def cut_off(self, places: int) -> Key:
        """Return the key of the last place that goes on; `WORST` when fewer finite results have arrived."""
        return self._ranked[places - 1][0] if 0 < places <= len(self._ranked) else WORST


def _holds(ranked: list[Place], place: Place) -> bool:
    at = bisect_left(ranked, place)
    return at < len(ranked) and ranked[at] == place


def _remove(ranked: list[Place], place: Place) -> None:
    at = bisect_left(ranked, place)
    if at < bisect_right(ranked, place):
        del ranked[at]
