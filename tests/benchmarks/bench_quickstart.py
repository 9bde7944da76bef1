"""Wall seconds of ``orchestrate run search_spaces/quickstart.yaml`` with an empty storage, as a user runs it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time

from tests.benchmarks.common import Figure, machine, median, print_figures


def one_run() -> dict[str, float]:
    """Run the quickstart once; returns wall seconds and the shares that its own summary gives."""
    with tempfile.TemporaryDirectory() as storage:
        command = [sys.executable, "-m", "orchestrator.cli", "run", "search_spaces/quickstart.yaml", "--json"]
        began = time.perf_counter()
        done = subprocess.run([*command, "--storage", storage], capture_output=True, text=True)
        wall = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    result = json.loads(done.stdout)
    return {
        "wall": wall,
        "trials": len(result["trials"]),
        "share": result["samples_trained"] / result["samples_exhaustive"],
        "utilisation": result["utilisation"],
        "work_share": result["work_share"],
    }


def figures(repeats: int) -> list[Figure]:
    """Return the quickstart's wall seconds."""
    runs = [one_run() for _ in range(repeats)]
    walls = [run["wall"] for run in runs]
    note = (
        f"{runs[0]['trials']:.0f} trials, {median([r['share'] for r in runs]):.0%} of the exhaustive samples trained, "
        f"utilisation {median([r['utilisation'] for r in runs]):.2f} (with evaluation {median([r['work_share'] for r in runs]):.2f})"
    )
    return [Figure("quickstart", median(walls), tuple(walls), "s", "<= 180 s", median(walls) <= 180, note=note)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    print_figures(figures(options.repeats))


if __name__ == "__main__":
    main()
