"""How many files of the package one milestone report crosses in the driver: a profile of `Coordinator.report`.

``python -m tests.benchmarks.files_per_report`` prints the median over 30 reports of a simulated sweep: the real engine,
journal and outbox of the tracker, no Ray and no training. ``--list`` also names the files and in how many of the reports
each was entered.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from types import FrameType

import orchestrator
from orchestrator.records import Action, Decision, Milestone
from orchestrator.tracking.in_memory import MemorySink
from orchestrator.tracking.outbox.outbox_tracker import OutboxTracker
from tests.worlds.tuning_worlds import SimulatedSweep, Storage, small_spec

REPORTS = 30
PACKAGE = Path(orchestrator.__file__).parent


def measure(reports: int = REPORTS, *, forecast: bool = True) -> list[frozenset[str]]:
    """Return for each of the first reports of a simulated sweep the files of the package that it entered.

    Args:
        reports: How many; the sweep's reports must suffice.
        forecast: Compare trials by the forecast, as a sweep file that says nothing of stopping does.
    """
    crossed: list[frozenset[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        tracker = OutboxTracker(Path(folder) / "outbox", MemorySink, "memory")
        sweep = SimulatedSweep(small_spec(), Storage(Path(folder)), forecast=forecast, tracker=tracker)
        report = sweep.coordinator.report

        def profiled(milestone: Milestone, halted: Decision | None) -> Action:
            entered: set[str] = set()

            def note(frame: FrameType, event: str, argument: object) -> None:
                if event == "call":
                    entered.add(frame.f_code.co_filename)

            sys.setprofile(note)
            try:
                return report(milestone, halted)
            finally:
                sys.setprofile(None)
                crossed.append(frozenset(name for path in entered if (name := _inside(path))))

        sweep.coordinator.report = profiled  # type: ignore[method-assign]
        sweep.run(until=lambda: len(crossed) >= reports)
        tracker.close()
    if len(crossed) < reports:
        raise ValueError(f"the sweep made {len(crossed)} reports, {reports} are needed")
    return crossed


def _inside(path: str) -> str:
    """Return a file's place in the package, empty where it lies elsewhere."""
    file = Path(path)
    return file.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else ""


def main(arguments: list[str]) -> None:
    """Print the median, and with ``--list`` the files."""
    crossed = measure()
    print(f"{median(len(files) for files in crossed):g} files of the package per report (median of {len(crossed)})")
    if "--list" in arguments:
        for name, count in Counter(name for files in crossed for name in files).most_common():
            print(f"{count:4d}  {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
