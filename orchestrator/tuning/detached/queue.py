"""The order in which detached evaluation sets score checkpoints, and which goes unscored where too many wait.

Trials that have ended come first: their checkpoints stay anyway, and their scores are the ones that are compared. Then
milestones, the newest first, so that what is seen of a running sweep is fresh also where scoring is slower than training.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BASE = ""
"""Trial id of the base model."""


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """One checkpoint to be scored.

    Args:
        trial_id: The trial; `BASE`: the base model.
        index: Milestone of the checkpoint; -1 for the base model.
        final: Whether the trial has ended here, so that sets with ``when: end`` are due as well.
    """

    trial_id: str
    index: int
    final: bool

    @property
    def waits(self) -> bool:
        """Whether weights are kept for its sake alone."""
        return not self.final


class ScoreQueue:
    """Checkpoints that wait to be scored, of which one is being scored.

    Args:
        limit: Milestones that may be in it at once; the one that is being scored, and those set back, count.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ended: deque[ScoreJob] = deque()
        self._milestones: list[ScoreJob] = []
        self._set_back: list[ScoreJob] = []
        self.running: ScoreJob | None = None

    def __len__(self) -> int:
        """How many are to be scored, or are being scored."""
        return len(self._ended) + len(self._milestones) + (self.running is not None)

    @property
    def set_back(self) -> int:
        """How many could not be scored in this session and wait for the next."""
        return len(self._set_back)

    def add(self, job: ScoreJob) -> ScoreJob | None:
        """Add a checkpoint; returns the one that goes unscored for it, if any."""
        if not job.waits:
            self._ended.append(job)
            return None
        self._milestones.append(job)
        running = self.running is not None and self.running.waits
        if len(self._milestones) + len(self._set_back) + running <= self._limit:
            return None
        return (self._set_back or self._milestones).pop(0)

    def begin(self) -> ScoreJob | None:
        """Return the checkpoint to be scored now; None where one is being scored, or none waits."""
        if self.running is not None:
            return None
        if self._ended:
            self.running = self._ended.popleft()
        elif self._milestones:
            self.running = self._milestones.pop()
        return self.running

    def end(self, again: bool = False) -> ScoreJob:
        """Take out the checkpoint that was being scored; ``again``: a later session may have more luck with it."""
        assert self.running is not None, "nothing is being scored"
        job, self.running = self.running, None
        if again and job.waits:
            self._set_back.append(job)
        return job
