"""How far a trial is on its way from milestone to milestone, told by samples seen alone. Pure."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

from orchestrator.errors import EntrypointError


class MilestoneClock:
    """The milestones of a trial, and the position of the process that trains it.

    Args:
        where: The code, for messages.
        levels: Milestones in samples, rising; the last is the budget.
        batch: Effective batch size: an optimizer step is not split, so one may pass several milestones.
        known: How many milestones were reported by earlier processes; they are passed without a word.
    """

    def __init__(self, where: str, levels: Sequence[int], batch: int, known: int = 0) -> None:
        self._where, self._batch = where, batch
        self.levels, self.known = tuple(levels), known
        self.position = 0
        self._passed = 0

    @property
    def budget(self) -> int:
        """Samples of the whole trial."""
        return self.levels[-1]

    @property
    def next_milestone(self) -> int | None:
        """The next level that this process has not reached; None after the last."""
        return self.levels[self._passed] if self._passed < len(self.levels) else None

    def reaches(self, samples_seen: int) -> bool:
        """Whether a report of so many samples would reach a milestone that needs scores and a decision."""
        return any(level <= samples_seen for level in self.levels[max(self._passed, self.known) :])

    def start_at(self, samples_seen: int) -> None:
        """The process goes on from a checkpoint."""
        self.position = samples_seen
        self._passed = sum(level <= samples_seen for level in self.levels)

    def advance(self, samples_seen: SupportsIndex) -> tuple[int, ...]:
        """Take a reported position and return the indices of the milestones that it reaches first.

        Raises:
            EntrypointError: If it is no count, falls, or passes several milestones by more than one optimizer step.
        """
        seen = min(self._count(samples_seen), self.budget)
        if seen < self.position:
            raise self._misuse(
                seen,
                f"the samples seen fell: {self.position:,} were reported before",
                "count them from the start of the trial, over all epochs and processes",
            )
        passed = sum(level <= seen for level in self.levels)
        if passed - self._passed > 1 and seen - self.position > self._batch:
            jumped = ", ".join(f"{level:,}" for level in self.levels[self._passed : passed])
            raise self._misuse(
                seen,
                f"one report passes several milestones ({jumped}), after {self.position:,} samples",
                "report after every optimizer step, or set fewer milestones in the sweep file",
            )
        reached = tuple(range(max(self._passed, self.known), passed))
        self.position, self._passed = seen, passed
        return reached

    def finish(self) -> tuple[int, ...]:
        """The code ends here, on purpose: return the indices of all milestones that were left."""
        left = tuple(range(max(self._passed, self.known), len(self.levels)))
        self._passed = len(self.levels)
        return left

    def _count(self, value: SupportsIndex) -> int:
        try:
            count = operator.index(value)
        except TypeError:
            raise self._misuse(value, "the samples seen are a whole number", "") from None
        if count < 0:
            raise self._misuse(count, "the samples seen are at least 0", "")
        return count

    def _misuse(self, value: object, rule: str, mend: str) -> EntrypointError:
        return EntrypointError(self._where, "samples_seen", value, rule, mend)
