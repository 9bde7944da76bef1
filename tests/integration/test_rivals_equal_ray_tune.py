"""The stand-in for Tune's controller against Tune itself: one worker, the same curves, the same trials stopped where."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray import tune

from orchestrator.decisions.objective import Objective
from orchestrator.simulation.engine.scheduler import Problem
from orchestrator.simulation.engine.simulator import Clock, simulate
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial
from orchestrator.simulation.rivals.ray_tune import RayScheduler, ray_rules
from orchestrator.simulation.rivals.tune_controller import METRIC, TIME

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

LEVELS = (100, 200, 400, 800)
TRIALS = 12


def curves() -> list[list[float]]:
    """Return noisy curves that cross."""
    random = np.random.default_rng(0)
    return [(random.uniform(1, 3) + np.cumsum(random.normal(-0.1, 0.15, len(LEVELS)))).tolist() for _ in range(TRIALS)]


class Curve(tune.Trainable):  # type: ignore[misc]
    """Plays one curve; can be paused and resumed."""

    def setup(self, config: dict[str, Any]) -> None:
        self.level = 0

    def step(self) -> dict[str, Any]:
        self.level += 1
        time = LEVELS[self.level - 1] / self.config["unit"]
        return {TIME: time, METRIC: curves()[self.config["number"]][self.level - 1]}

    def reset_config(self, config: dict[str, Any]) -> bool:
        self.config, self.level = config, 0
        return True

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "level").write_text(str(self.level))

    def load_checkpoint(self, folder: str) -> None:
        self.level = int(Path(folder, "level").read_text())


def recorded_sweep() -> RecordedSweep:
    def trial(number: int, curve: list[float]) -> RecordedTrial:
        signals = np.ones((LEVELS[-1], 5))
        signals[:, 0] = np.arange(1, LEVELS[-1] + 1)
        evals = tuple((level, {METRIC: value}) for level, value in zip(LEVELS, curve, strict=True))
        config = {"method": "full", "effective_batch_size": 1, "learning_rate": 1e-3}
        return RecordedTrial(str(number), config, "c", signals, evals, {METRIC: curve[-1]}, LEVELS[-1], 1.0)

    return RecordedSweep("curves", tuple(trial(number, curve) for number, curve in enumerate(curves())))


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Path]:
    if ray.is_initialized():
        ray.shutdown()
    # Workers cannot import a test file, so that its class travels whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with tempfile.TemporaryDirectory() as folder:
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield Path(folder)
        ray.shutdown()


@pytest.mark.parametrize("name", ["ray-asha-rf2", "ray-hyperband-rf2", "ray-median"])
def test_replay_stops_the_trials_that_tune_stops(name: str, one_worker: Path) -> None:
    sweep, rule = recorded_sweep(), ray_rules()[name]()
    assert isinstance(rule, RayScheduler)
    problem = Problem(LEVELS, Objective(METRIC), tuple(trial.facts for trial in sweep.trials), 1, 0)
    scheduler, unit = rule.build(problem)
    space = {"number": tune.grid_search(list(range(TRIALS))), "unit": unit}
    tuner = tune.Tuner(
        Curve,
        param_space=space,
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            name=name, storage_path=str(one_worker), verbose=0, stop={"training_iteration": len(LEVELS)}
        ),
    )
    results = tuner.fit()
    trained = {str(done.config["number"]): LEVELS[done.metrics["training_iteration"] - 1] for done in results}
    replayed = simulate(sweep, rule, Objective(METRIC), Clock(1), [trial.trial for trial in sweep.trials], 0)
    assert replayed.samples_trained == trained
    assert len(set(trained.values())) > 1
