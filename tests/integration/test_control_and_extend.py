"""A real small sweep controlled from other processes and by tags in MLflow, then extended, killed, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

SWEEP = """
name: steered
model: testbed
data: {train: "testbed:sft", held_out: 0.1, limit: 400}
evaluation: [{name: eval, kind: loss, data: held_out}]
search_space:
  method:
    full: {learning_rate: [1e-3, 3e-3]}
    lora: {learning_rate: [4e-3, 8e-3], r: 8}
  effective_batch_size: [8, 32]
searcher: sobol
budget: {trials: 6, samples: 512}
milestones: [0.25, 0.5, 1.0]
stopping: {forecast: {enabled: false}}
resources: {concurrency: 1}
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *words]


def orchestrate(*words: str, rc: int = 0) -> dict[str, Any]:
    done = subprocess.run(command(*words, "--json"), capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == rc, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout) if rc == 0 else {"error": done.stderr}
    return found


def journal(storage: Path) -> list[dict[str, Any]]:
    file = storage / "steered" / "journal.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for(process: subprocess.Popen[Any], reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 400
    while time.monotonic() < until and not reached():
        assert process.poll() is None, "the sweep ended before that"
        time.sleep(0.05)
    assert reached()


def begin(*words: str) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=ENVIRONMENT
    )


def milestones(storage: Path) -> Counter[tuple[str, int]]:
    return Counter((r["trial"], r["index"]) for r in journal(storage) if r["kind"] == "milestone")


def runs(storage: Path) -> dict[str, dict[str, str]]:
    """Return the tags of every run, with its status, by trial id (the sweep's own: empty)."""
    with sqlite3.connect(storage / "mlflow.db") as store:
        statuses = dict(store.execute("select run_uuid, status from runs"))
        tags: dict[str, dict[str, str]] = {run: {"status": status, "run": run} for run, status in statuses.items()}
        for run, key, value in store.execute("select run_uuid, key, value from tags"):
            tags[run][key] = value
    found = {each.get("orchestrate.trial_id", ""): each for each in tags.values()}
    assert len(found) == len(tags), "one run for each trial, and one for the sweep"
    return found


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a sweep of which one trial is stopped, one cloned, and one stopped by a tag, all from outside."""
    storage = tmp_path_factory.mktemp("steered") / "runs"
    file = storage.parent / "steered.yaml"
    file.write_text(SWEEP)
    process = begin("run", str(file), "--storage", str(storage))
    place = ("--storage", str(storage))
    wait_for(process, lambda: len(milestones(storage)) >= 1)
    trials = [record["trial"] for record in journal(storage) if record["kind"] == "trial"]
    ended = {trial for trial, _ in milestones(storage)}
    pending = [trial for trial in trials if trial not in ended]
    stopped = orchestrate("stop", "steered", pending[-1], *place)
    assert stopped["state"] == "done"
    clone = orchestrate(
        "clone", "steered", trials[0], "--set", "learning_rate=2e-3", "--set", "weight_decay=0.1", *place
    )
    assert clone["state"] == "done"
    refused = orchestrate("stop", "steered", pending[-1], *place, rc=2)
    assert "it has ended already" in refused["error"]
    assert "did you mean" in orchestrate("stop", "sterred", pending[0], *place, rc=2)["error"].lower()
    _set_tag(storage, process, pending[-2], "stop")
    assert process.wait(timeout=600) == 0
    return storage


def _set_tag(storage: Path, process: subprocess.Popen[Any], trial: str, text: str) -> None:
    """Set the tag on a trial's run, as soon as it has one, as a user does in the UI."""
    from mlflow.tracking import MlflowClient

    database = storage / "mlflow.db"
    wait_for(process, lambda: database.exists() and len(milestones(storage)) >= 2 and trial in _tracked(storage))
    MlflowClient(f"sqlite:///{database}").set_tag(runs(storage)[trial]["run"], "orchestrate.action", text)


def _tracked(storage: Path) -> dict[str, dict[str, str]]:
    try:
        return runs(storage)
    except sqlite3.OperationalError:  # its tables are being made
        return {}


def test_actions_from_outside_are_carried_out_and_on_record(steered: Path) -> None:
    actions = [record for record in journal(steered) if record["kind"] == "action"]
    assert Counter(record["asked"]["kind"] for record in actions if record["state"] != "refused") >= Counter(
        stop=1, clone=1
    )
    tracked = runs(steered)
    (clone,) = [tags for tags in tracked.values() if tags.get("role") == "clone"]
    assert (clone["status"], clone["outcome"]) == ("FINISHED", "completed")
    assert clone["origin.takes"] == "configuration"
    by_hand = [tags for tags in tracked.values() if tags.get("stop.rule") == "user"]
    assert by_hand
    assert all(tags["status"] == "KILLED" for tags in by_hand)
    assert [tags["outcome"] for tags in tracked.values() if "orchestrate.action" in tags] != []
    status = orchestrate("status", "steered", "--storage", str(steered))
    assert status["status"] == "completed"
    assert max(milestones(steered).values()) == 1


def test_complete_sweep_points_to_extend(steered: Path) -> None:
    trial = next(tags["orchestrate.trial_id"] for tags in runs(steered).values() if tags.get("stop.rule") == "user")
    said = orchestrate("resume", "steered", trial, "--storage", str(steered), rc=2)["error"]
    assert "orchestrate extend" in said


@pytest.mark.slow
def test_extension_killed_half_way_goes_on_and_trains_nothing_twice(steered: Path) -> None:
    before = runs(steered)
    old = dict(milestones(steered))
    resumed = next(tags["orchestrate.trial_id"] for tags in before.values() if tags.get("stop.rule") == "user")
    place = ("--storage", str(steered))
    assert "exhausted" not in orchestrate("extend", "steered", "--set", "model=other", *place, rc=2)["error"]
    process = begin(
        "extend", "steered", "--trials", "2", "--resume", resumed, "--best", "1", "--samples", "1024", *place
    )
    wait_for(process, lambda: len(milestones(steered)) >= len(old) + 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    result = orchestrate("extend", "steered", *place)
    assert result["status"] == "completed"
    assert max(milestones(steered).values()) == 1
    roles = Counter(trial["role"] for trial in result["trials"])
    assert roles["resumed"] == roles["extended"] == 1
    assert roles["search"] + roles["resumed"] == 8
    (longer,) = [trial for trial in result["trials"] if trial["role"] == "extended"]
    assert (longer["outcome"], longer["samples_seen"], longer["origin"]["takes"]) == ("completed", 1024, "training")
    after = runs(steered)
    # A tag that was set in the sweep's last seconds has waited in MLflow for this session.
    (answer,) = [tags["orchestrate.action"] for tags in after.values() if "orchestrate.action" in tags]
    assert answer.startswith(("done: ", "refused: "))
    assert after[""]["run"] == before[""]["run"]
    assert after[""]["trials.planned"] == "8"
    assert all(after[trial]["run"] == tags["run"] for trial, tags in before.items())
    assert {tags["status"] for tags in after.values()} <= {"FINISHED", "KILLED", "FAILED"}
    again = orchestrate("run", str(steered.parent / "steered.yaml"), *place)
    assert again["training_seconds"] == result["training_seconds"], "the first file finds the extended sweep complete"
