"""Audit and repeats through the command line, Ray and MLflow: whole, killed half-way, and asked for after the end."""

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

from orchestrator.api import read_sweep
from orchestrator.storage.sweep_folder import SweepFolder
from tests.worlds.shared_ray import SharedRay

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

SWEEP = """
name: sure
model: testbed
data: {train: "testbed:sft", held_out: 0.1, limit: 400}
evaluation: [{name: eval, kind: loss, data: held_out}]
search_space:
  method:
    full: {learning_rate: [1e-3, 3e-3]}
    lora: {learning_rate: [4e-3, 1000.0], r: 8}
  any_learning_rate: true
  effective_batch_size: [8, 32]
searcher: grid
budget: {samples: 512}
milestones: [0.25, 0.5, 1.0]
stopping: {forecast: {enabled: false}, audit: 0.5}
winner: {candidates: 2, repeats: 2}
resources: {concurrency: 1}
"""


def _command(storage: Path, *more: str) -> list[str]:
    file = storage.parent / "sure.yaml"
    file.write_text(SWEEP)
    return [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--storage", str(storage), "--json", *more]


def _run(storage: Path, *more: str) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(_command(storage, *more), capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _kill_when(storage: Path, reached: Callable[[list[dict[str, Any]]], bool]) -> None:
    """Start the sweep and kill its driver, with everything it started, once its journal says so."""
    process = subprocess.Popen(
        _command(storage),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    journal, until = storage / "sure" / "journal.jsonl", time.monotonic() + 400
    while time.monotonic() < until:
        lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        if reached([json.loads(line) for line in lines if line.endswith("\n")]):
            break
        assert process.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reached(role: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda records: any(record["kind"] == "milestone" and record.get("role") == role for record in records)


def _facts(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how often the sweep was interrupted."""
    return {
        trial["trial_id"]: (
            trial["outcome"],
            trial["role"],
            trial["stopped_at"],
            trial["samples_seen"],
            trial["scores"],
        )
        for trial in result["trials"]
    }


def _rows(storage: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(storage / "mlflow.db") as connection:
        return connection.execute(query).fetchall()


SERIES = """
    select t.value, m.key, m.step, m.value from metrics m join tags t on t.run_uuid = m.run_uuid
    and t.key = 'orchestrate.trial_id' where m.key in ('train/loss', 'eval/loss') and m.is_nan = 0 order by 1, 2, 3
"""
ENDINGS = """
    select id.value, r.status, o.value, role.value from runs r join tags id on id.run_uuid = r.run_uuid
    join tags o on o.run_uuid = r.run_uuid join tags role on role.run_uuid = r.run_uuid
    where id.key = 'orchestrate.trial_id' and o.key = 'outcome' and role.key = 'role' order by 1
"""


@pytest.fixture(scope="module")
def whole(shared_ray: SharedRay, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    storage = tmp_path_factory.mktemp("whole") / "runs"
    return shared_ray.result(*_command(storage)[4:]), storage


def test_audit_and_winner_are_told_everywhere(whole: tuple[dict[str, Any], Path]) -> None:
    result, storage = whole
    roles = Counter(trial["role"] for trial in result["trials"])
    assert roles["repeat"] == result["verdict"]["repeats"] == 4
    assert roles["audit"] == result["audit"]["drawn"] == result["audit"]["ended"] >= 1
    assert roles["search"] + roles["audit"] == 8
    assert result["verdict"]["verdict"] in ("decided", "tied")
    winner = result["verdict"]["recipes"][0]
    assert result["winner"]["trial_id"] == winner["trial_id"]
    assert winner["seeds"] == 2
    metrics = dict(
        _rows(storage, "select key, value from latest_metrics where key like 'audit/%' or key like 'winner/%'")
    )
    assert metrics["audit/false_stops"] == result["audit"]["beat_best"]["rate"]
    assert metrics["winner/mean"] == winner["mean"]
    ((note,),) = _rows(storage, "select value from tags where key = 'mlflow.note.content'")
    assert result["verdict"]["sentence"] in note
    assert result["audit"]["sentence"] in note
    endings = _rows(storage, ENDINGS)
    assert Counter(role for *_, role in endings) == roles
    assert {status for _, status, outcome, _ in endings if outcome == "completed"} == {"FINISHED"}
    decisions = [
        record for record in (storage / "sure" / "journal.jsonl").read_text().splitlines() if '"repeat"' in record
    ]
    assert len(decisions) >= 4


def test_history_reads_back_what_the_run_said(whole: tuple[dict[str, Any], Path]) -> None:
    result, storage = whole
    read = read_sweep(SweepFolder(storage, "sure")).result
    assert read.audit is not None
    assert read.verdict is not None
    assert json.loads(json.dumps(read.as_dict()))["audit"] == result["audit"]
    assert json.loads(json.dumps(read.as_dict()))["verdict"] == result["verdict"]


@pytest.mark.slow
def test_driver_killed_in_audit_and_in_repeats_ends_as_the_uninterrupted_one(
    whole: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    result, storage = whole
    killed = tmp_path / "runs"
    for role in ("audit", "repeat"):
        _kill_when(killed, _reached(role))
    resumed = _run(killed)
    assert _facts(resumed) == _facts(result)
    assert resumed["audit"] == result["audit"]
    assert resumed["verdict"]["recipes"][0]["mean"] == result["verdict"]["recipes"][0]["mean"]
    assert _rows(killed, SERIES) == _rows(storage, SERIES)
    assert _rows(killed, ENDINGS) == _rows(storage, ENDINGS)


@pytest.mark.slow
def test_more_audits_can_be_asked_for_after_the_end(whole: tuple[dict[str, Any], Path]) -> None:
    result, storage = whole
    more = _run(storage, "--set", "stopping.audit=1")
    assert more["audit"]["ended"] == more["audit"]["stopped"] > result["audit"]["ended"]
    before, after = _facts(result), _facts(more)
    changed = {trial_id for trial_id, facts in after.items() if before.get(trial_id) != facts}
    assert all(after[trial_id][1] == "audit" for trial_id in changed)
    endings = {trial_id: told for trial_id, *told in _rows(storage, ENDINGS)}
    assert all(endings[trial_id] == ["FINISHED", "completed", "audit"] for trial_id in changed)
    again = _run(storage, "--set", "stopping.audit=1")
    assert _facts(again) == after
    assert again["training_seconds"] == more["training_seconds"]
