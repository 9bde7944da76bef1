"""Detached evaluation sets in a whole sweep: scored beside the trials as in their slots, and not again by a command."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from orchestrator.api import read_sweep
from orchestrator.storage.sweep_folder import find_sweep
from tests.worlds.shared_ray import SharedRay, answer, call

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SWEEP = """
name: beside
model: testbed
data: {train: "testbed:sft", held_out: 0.1, limit: 200}
evaluation:
  - {name: eval}
  - {name: skills, kind: exact_match, data: "testbed:skills", limit: 20, max_new_tokens: 8, detached: true}
  - {name: again, detached: true, when: milestones}
search_space:
  method: {full: {learning_rate: [1e-3, 3e-3]}}
  effective_batch_size: 16
searcher: grid
budget: {samples: 128}
milestones: [0.25, 0.5, 1.0]
resources: {concurrency: 1}
"""


def test_detached_sets_are_scored_beside_the_trials_and_only_once(shared_ray: SharedRay, tmp_path: Path) -> None:
    file, storage = tmp_path / "beside.yaml", tmp_path / "runs"
    file.write_text(SWEEP)
    result = shared_ray.result(file, "--storage", storage)
    assert result["status"] == "completed"
    completed = [trial for trial in result["trials"] if trial["outcome"] == "completed"]
    assert completed
    assert all("skills/exact_match" in trial["scores"] for trial in completed)
    assert "skills/exact_match" in result["base_scores"]
    assert result["beside_seconds"] > 0
    journal = [json.loads(line) for line in (storage / "beside" / "journal.jsonl").read_text().splitlines()]
    assert not any("skills/exact_match" in each["scores"] for each in journal if each["kind"] == "milestone")
    with sqlite3.connect(storage / "mlflow.db") as store:
        held = store.execute("select count(distinct run_uuid) from metrics where key = 'skills/exact_match'").fetchone()
        series = {
            key: store.execute(
                "select run_uuid, step, value from metrics where key = ? and run_uuid in "
                "(select run_uuid from tags where key = 'mlflow.parentRunId') order by 1, 2",
                (key,),
            ).fetchall()
            for key in ("eval/loss", "again/loss")
        }
    assert held[0] >= len(completed)
    in_slot, beside = series.values()
    assert [row[:2] for row in beside] == [row[:2] for row in in_slot], "every milestone of every trial, at its step"
    assert [row[2] for row in beside] == pytest.approx([row[2] for row in in_slot], rel=1e-6)
    assert len({row[1] for row in beside}) == 3
    milestones = [each for trial in read_sweep(find_sweep("beside", storage)).trials for each in trial.milestones]
    assert len(milestones) == len(beside)
    for each in milestones:
        assert each.scores["again/loss"] == pytest.approx(each.scores["eval/loss"], rel=1e-6)
        assert each.standard_errors["again/loss"] == pytest.approx(each.standard_errors["eval/loss"], rel=1e-6)
    assert not find_sweep("beside", storage).milestones_waiting

    again = answer(call("evaluate", "beside", "--storage", storage, "--best", 1, "--device", "cpu", "--json"))
    scored = again["models"][1]
    winner = next(trial for trial in completed if trial["trial_id"] == scored["trial_id"])
    assert scored["scores"]["skills/exact_match"] == winner["scores"]["skills/exact_match"]
    assert scored["tracked"]
