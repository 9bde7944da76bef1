"""A real recorded sweep, exported by the command and read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.api.record_export import past_recorded
from orchestrator.simulation.files import read_recorded
from orchestrator.spec.batch_plan import BatchPlan

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SWEEP = """
name: rec
model: testbed
data: {train: "testbed:sft", held_out: 40, limit: 200}
evaluation:
  - {name: eval, kind: loss, data: held_out}
  - {name: general, kind: text_loss, data: "testbed:biographies", limit: 5, when: end}
search_space:
  method: {full: {learning_rate: [1e-3, 1.0e+30]}}
  any_learning_rate: true
  effective_batch_size: [8, 24]
searcher: grid
budget: {samples: 128}
milestones: [0.25, 0.5, 1.0]
resources: {concurrency: 2}
tracking: {enabled: false}
"""


def _call(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_recorded_sweep_is_exported_with_every_optimizer_step(tmp_path: Path) -> None:
    (tmp_path / "rec.yaml").write_text(SWEEP)
    storage, file = str(tmp_path / "runs"), tmp_path / "rec.jsonl.gz"
    result = _call("run", str(tmp_path / "rec.yaml"), "--record", "--storage", storage, "--json")
    exported = _call("record-export", "rec", "--storage", storage, "--out", str(file), "--json")
    assert exported == {"file": str(file), "sweep": "rec", "trials": 4, "bytes": file.stat().st_size}
    (sweep,) = read_recorded([file])
    assert [past.name for past in past_recorded(Path(storage))] == ["rec"]
    outcomes = {trial["trial_id"]: trial for trial in result["trials"]}
    assert {trial.trial: trial.status for trial in sweep.trials} == {
        trial_id: trial["outcome"] for trial_id, trial in outcomes.items()
    }
    assert {trial.status for trial in sweep.trials} == {"completed", "diverged"}
    for trial in sweep.trials:
        plan = BatchPlan(128, trial.config["effective_batch_size"])
        steps = [plan.samples_at(step) for step in range(1, plan.steps + 1)]
        seen = trial.signals[:, 0].tolist()
        assert seen == steps[: len(seen)]
        assert trial.evals[0] == (0, pytest.approx({"eval/loss": result["base_scores"]["eval/loss"]}, rel=1e-5))
        if trial.status == "completed":
            assert len(seen) == plan.steps
            assert len(trial.evals) == 4
            assert dict(trial.final) == pytest.approx(outcomes[trial.trial]["scores"], rel=1e-5)
            assert np.isfinite(trial.signals[:, :4]).all()
            assert trial.evals[-1][1]["eval/loss"] == trial.final["eval/loss"]
        else:
            assert not np.isfinite(trial.signals[-1, 1:3]).all()
    # Batches of 24 pass the first milestone by more than batches of 8, and are judged there all the same.
    assert sweep.levels == (32, 64, 128)
