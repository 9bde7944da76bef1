"""A real recorded sweep, exported by the command and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.api.recorded.from_mlflow import tracked_recorded
from orchestrator.api.recorded.record_export import past_recorded
from orchestrator.errors import TrackingError
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.spec.trial.batch_plan import BatchPlan
from orchestrator.tracking.mlflow.opening import default_tracking_uri
from tests.worlds.shared_ray import SharedRay, answer, call

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SWEEP = """
name: rec
model: testbed
data: {train: "testbed:sft", held_out: 40, limit: 200}
evaluation:
  - {name: eval, kind: loss, data: held_out}
  - {name: general, kind: text_loss, data: "testbed:biographies", limit: 5, when: end}
search_space:
  method: {full: {learning_rate: [3e-4, 1e-3, 3e-3, 1.0e+30]}}
  any_learning_rate: true
  effective_batch_size: [8, 24]
searcher: grid
budget: {samples: 128}
milestones: [0.25, 0.5, 1.0]
resources: {concurrency: 2}
"""


def test_recorded_sweep_is_exported_with_every_optimizer_step(shared_ray: SharedRay, tmp_path: Path) -> None:
    (tmp_path / "rec.yaml").write_text(SWEEP)
    storage, file = str(tmp_path / "runs"), tmp_path / "rec.jsonl.gz"
    result = shared_ray.result(tmp_path / "rec.yaml", "--record", "--storage", storage)
    exported = answer(call("record-export", "rec", "--storage", storage, "--out", str(file), "--json"))
    assert exported == {"file": str(file), "sweep": "rec", "trials": 8, "bytes": file.stat().st_size}
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
    _check_same_from_mlflow(sweep, Path(storage))
    # Batches of 24 pass the first milestone by more than batches of 8, and are judged there all the same.
    assert sweep.levels == (32, 64, 128)


def _check_same_from_mlflow(sweep: RecordedSweep, storage: Path) -> None:
    """What MLflow holds of it is the same sweep, without the base model's scores; short series are kept whole."""
    said: list[str] = []
    (tracked,) = tracked_recorded(default_tracking_uri(storage), said.append)
    assert "8 trials" in said[0]
    assert tracked.levels == sweep.levels
    assert tracked.epochs == pytest.approx(sweep.epochs)
    assert sweep.epochs != 1.0
    for trial in sweep.trials:
        same = tracked.trial(trial.trial)
        assert same.status == trial.status
        assert same.facts == replace(trial.facts, cohort="")
        if trial.status == "completed":
            assert dict(same.final) == pytest.approx(dict(trial.final), rel=1e-5)
            for (seen, scores), (also, others) in zip(same.evals, trial.evals[1:], strict=True):
                assert (seen, dict(scores)) == (also, pytest.approx(dict(others), rel=1e-5))
            np.testing.assert_allclose(same.signals[:, :4], trial.signals[:, :4], rtol=1e-4)
            # MLflow holds the noise scale smoothed over steps, so the corrected norm is near, not equal.
            known = ~np.isnan(same.signals[:, 4])
            assert known.any() == (trial.config["effective_batch_size"] == 24)
            assert (same.signals[known, 4] <= same.signals[known, 2]).all()


def test_a_store_without_a_whole_sweep_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="there is no such database"):
        tracked_recorded(f"sqlite:///{tmp_path / 'none.db'}")
