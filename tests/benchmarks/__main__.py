"""All benchmarks, one after another, rivals in the same run: ``make bench``. About 25 minutes on 2 cores."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from tests.benchmarks.common import machine

SCRIPTS = (
    ("tests.benchmarks.bench_quickstart", "--repeats"),
    ("tests.benchmarks.bench_sweep", "--repeats"),
    ("tests.benchmarks.bench_single_trial", "--repeats"),
    ("tests.benchmarks.bench_tracking", "--rounds"),
    ("tests.benchmarks.bench_status", "--rounds"),
    ("tests.benchmarks.bench_report", "--rounds"),
)


def main() -> int:
    """Run every script; returns the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of which medians are taken (at least 3 to report)")
    options = parser.parse_args()
    print(machine(), flush=True)
    failed = 0
    for module, flag in SCRIPTS:
        began = time.monotonic()
        print(f"\n## {module}", flush=True)
        failed += subprocess.run([sys.executable, "-m", module, flag, str(options.repeats)]).returncode != 0
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
