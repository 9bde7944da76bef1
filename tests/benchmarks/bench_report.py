"""Seconds and bytes of ``orchestrate report`` on a synthetic sweep of 1,000 trials, the start of its process included.

Four methods with ranges of learning rates, four effective batch sizes, three weight decays; six milestones, a training
signal per optimizer step of 32 samples, stops at every milestone. Aims: at most 20 s, and a page of at most 5 MB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import machine
from tests.worlds.report_sweeps import LEVELS, RANGES, MadeSweep, sweep_spec

AIM_SECONDS, AIM_BYTES = 20.0, 5_000_000


def main() -> None:
    """Write the sweep, report on it, print seconds and bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--keep", type=Path, help="folder in which sweep and report are left")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        storage = options.keep or Path(temporary)
        budget = {"trials": options.trials, "samples": LEVELS[-1]}
        made = MadeSweep(storage, sweep_spec(search_space=RANGES, budget=budget), step=32)
        made.train(options.trials)
        folder = made.end()
        seconds = []
        for _ in range(options.rounds):
            began = time.monotonic()
            command = [sys.executable, "-m", "orchestrator", "report", str(folder.root), "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds.append(time.monotonic() - began)
        written = json.loads(done.stdout)
    size = written["bytes"][written["page"]]
    shown = ", ".join(f"{each:.1f}" for each in seconds)
    print(f"{options.trials} trials: median {statistics.median(seconds):.1f} s ({shown}; aim {AIM_SECONDS:.0f} s)")
    print(f"page {size:,} bytes (aim {AIM_BYTES:,}), all files {sum(written['bytes'].values()):,} bytes")


if __name__ == "__main__":
    main()
