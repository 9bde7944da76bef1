"""A simulated run of the production scheduler and a real run with the same trials give the same decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.plan.policy import make_objective, make_policy
from orchestrator.api.plan.preflight import validate_sweep
from orchestrator.api.recorded.record_export import export_recorded
from orchestrator.records import Action
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, simulate
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.spec.loading import load_sweep
from orchestrator.storage.sweep_folder import SweepFolder
from tests.worlds.journals.lines import journal_lines
from tests.worlds.shared_ray import SharedRay

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

# The rungs (or the forecast), the early-dynamics rule and the divergence rule all get to decide something here.
SWEEP = """
name: {name}
model: testbed
data: {{train: "testbed:sft", held_out: 0.1, limit: 400}}
evaluation: [{{name: eval, kind: loss, data: held_out}}]
search_space:
  method:
    full: {{learning_rate: [1e-3, 1e-2]}}
    lora: {{learning_rate: [4e-3, 1000.0], r: 8}}
  any_learning_rate: true
  effective_batch_size: [8, 32]
searcher: grid
budget: {{samples: 512}}
milestones: [0.125, 0.25, 0.5, 1.0]
stopping:
  rungs: {{reduction_factor: 2, levels: [0.25, 0.5]}}
  forecast: {{enabled: {forecast}}}
  early_dynamics: {{enabled: true, share: 0.125, drop: 0.5, min_cohort: 2}}
tracking: {{enabled: false}}
resources: {{concurrency: 1}}
"""


def _run(ray: SharedRay, folder: Path, name: str, *more: str, forecast: bool = False) -> SweepFolder:
    file = folder / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name, forecast=str(forecast).lower()))
    done = ray.run(file, "--storage", folder / "runs", *more)
    assert done.returncode == 0, done.stderr[-4000:]
    return SweepFolder(folder / "runs", name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replayed")


@pytest.fixture(scope="module")
def recorded(shared_ray: SharedRay, folder: Path) -> RecordedSweep:
    return export_recorded(_run(shared_ray, folder, "recorded", "--record"))


@pytest.mark.parametrize(
    "forecast", [pytest.param(False, marks=pytest.mark.slow, id="rungs"), pytest.param(True, id="forecast")]
)
def test_replay_of_a_recorded_sweep_decides_as_the_real_run(
    shared_ray: SharedRay, folder: Path, recorded: RecordedSweep, forecast: bool
) -> None:
    name = "forecast" if forecast else "rungs"
    records = journal_lines(_run(shared_ray, folder, name, forecast=forecast).journal)
    spec = load_sweep(folder / f"{name}.yaml", [f"storage={json.dumps(str(folder / 'runs'))}"])
    plan = validate_sweep(spec).plan
    assert recorded.levels == plan.levels

    order = [record["trial"] for record in records if record["kind"] == "trial"]
    made = [record["decision"] for record in records if record["kind"] in ("milestone", "decision")]
    scheduler = EngineScheduler(make_policy(spec, plan, record=False))
    run = simulate(recorded, scheduler, make_objective(spec), Clock(workers=1), order, seed=0)

    simulated = [_short(asdict(decision), order) for decision in scheduler.engine.decisions]
    assert simulated == [_short(decision, order) for decision in made]
    stops = {rule for *_, action, rule, _ in simulated if action == Action.STOP}
    assert stops >= {"divergence", name}
    assert run.samples_total == sum(_samples(records, trial) for trial in order)


def _short(decision: Mapping[str, Any], order: Sequence[str]) -> tuple[Any, ...]:
    """Return trial (by its place), samples, action, rule and reason."""
    place = order.index(decision["trial_id"])
    return (place, *(decision[name] for name in ("samples_seen", "action", "rule", "reason")))


def _samples(records: Sequence[Mapping[str, Any]], trial: str) -> int:
    return max(each["samples_seen"] for each in records if each["kind"] == "milestone" and each["trial"] == trial)
