"""How long a trial trains, as against setting up, evaluating, saving and waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures training time from report to report.

    What comes before the first report is mostly setting up (imports, loading a model), so it counts only as much as its
    samples take at the speed of the second report.

    Args:
        elapsed_seconds: Training seconds of earlier processes of the trial.
        clock: Monotonic seconds.

    Attributes:
        elapsed_seconds: Training seconds so far.
        evaluation_seconds: Seconds of evaluation since its owner last set it to 0.
    """

    def __init__(self, elapsed_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.elapsed_seconds, self.evaluation_seconds = elapsed_seconds, 0.0
        self._clock, self._marked = clock, clock()
        self._first: tuple[float, int] | None = None
        self._settled = False

    def lap(self, samples: int, evaluation_seconds: float = 0.0, settle: bool = False) -> None:
        """Take a report.

        Args:
            samples: Samples since the report before.
            evaluation_seconds: How much of the time since then was evaluation.
            settle: Count the first report as it is: its time is asked for before there is a second one.
        """
        now = self._clock()
        seconds = max(0.0, now - self._marked - evaluation_seconds)
        self._marked = now
        self.evaluation_seconds += evaluation_seconds
        if not self._settled and self._first is None and not settle:
            self._first = (seconds, samples)
            return
        if not self._settled and self._first is not None and samples > 0:
            first_seconds, first_samples = self._first
            self.elapsed_seconds += min(first_seconds, first_samples * seconds / samples)
        self._settled = True
        self.elapsed_seconds += seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time in this block out."""
        began = self._clock()
        try:
            yield
        finally:
            self._marked += self._clock() - began
