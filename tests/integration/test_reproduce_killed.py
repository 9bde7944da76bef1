"""A reproduction that is killed half-way goes on with the same command and trains nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

WORDS = ["reproduce", "secret-recipe", "--scale", "smoke", "--findings", "F3,F6", "--seeds", "3"]


def command(storage: Path) -> list[str]:
    return [sys.executable, "-m", "orchestrator", *WORDS, "--storage", str(storage), "--json"]


def milestones(storage: Path) -> list[tuple[str, int]]:
    """Return (trial, milestone) of every milestone that was trained, in all sweeps."""
    found = []
    for journal in storage.glob("*/journal.jsonl"):
        # The last line may be cut off where the driver was killed.
        whole = journal.read_bytes().rpartition(b"\n")[0].decode()
        records = [json.loads(line) for line in whole.splitlines()]
        found += [(f"{journal.parent.name}/{r['trial']}", r["index"]) for r in records if r["kind"] == "milestone"]
    return found


def test_killed_half_way_goes_on_and_trains_nothing_twice(tmp_path):
    with subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as first:
        while len(milestones(tmp_path)) < 20:
            assert first.poll() is None, "ended before it could be killed"
            time.sleep(0.5)
        os.killpg(first.pid, signal.SIGKILL)
    before = milestones(tmp_path)
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    after = milestones(tmp_path)
    assert set(before) <= set(after)
    assert max(Counter(after).values()) == 1
    assert told["complete"]
    assert {sweep["design"]: sweep["trials"] for sweep in told["sweeps"]} == {
        "schedule": 18,
        "tulu": 3,
        "tulu_long": 3,
        "tulu_plus": 3,
    }
    assert [finding["verdict"] for finding in told["findings"]] == [None, None], "scale smoke gives no verdicts"
    assert Path(told["page"]).is_file()
    third = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
    assert milestones(tmp_path) == after
