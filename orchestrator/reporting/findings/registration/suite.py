"""Which sweeps a set of findings needs, and how far the whole suite is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.registration import Finding
from orchestrator.reporting.text.numbers import duration, share


def needed_designs(findings: Sequence[Finding]) -> list[str]:
    """Return the designs whose sweeps the findings rest on, each once, in the order in which they are run."""
    wanted = {name for finding in findings for name in finding.sweeps}
    return [name for name in designs() if name in wanted]


@dataclass
class SuiteProgress:
    """How far a suite of sweeps is, in samples.

    Args:
        samples: Samples of each sweep, by design.
        done: Samples trained before this command, of all sweeps.
    """

    samples: dict[str, int]
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    _finished: int = 0
    _current: int = 0

    @property
    def whole(self) -> int:
        """Samples of the whole suite."""
        return sum(self.samples.values())

    @property
    def trained(self) -> int:
        """Samples trained by now."""
        return self.done + self._finished + self._current

    def seen(self, samples: int) -> None:
        """Take in how many samples the running sweep has trained in this session."""
        self._current = max(self._current, samples)

    def finish(self) -> None:
        """Close the running sweep."""
        self._finished, self._current = self._finished + self._current, 0

    def remaining_seconds(self) -> float | None:
        """Return about how long the rest takes, by this session's pace; None while nothing is known."""
        here = self._finished + self._current
        if not here:
            return None
        return (time.monotonic() - self.began) / here * max(0, self.whole - self.trained)

    def line(self, place: int) -> str:
        """Return how far the suite is while its sweep number ``place`` (from 1) runs."""
        left = self.remaining_seconds()
        told = "" if left is None else f", about {duration(left)} left"
        return f"sweep {place} of {len(self.samples)}, suite {share(self.trained, self.whole)}{told}"
