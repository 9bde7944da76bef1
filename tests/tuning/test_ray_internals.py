"""What `ray_internals` relies on in Ray exists and behaves; an upgrade of Ray that changes it fails here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.air.execution import FixedResourceManager
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayError
from ray.tune.execution.tune_controller import TrialRunnerWrapper
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.tuning.ray_internals import (
    keep_workers_warm,
    set_trial_config,
    treat_lost_results_as_lost_actors,
)

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("small_ray")]


@pytest.fixture(scope="module")
def small_ray() -> Iterator[None]:
    """One Ray of two cores for this file; others that the same process starts want to find none."""
    if ray.is_initialized():
        ray.shutdown()
    # Workers cannot import a test file, so that its classes travel whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test patch Ray's actor manager for itself alone."""
    handler = RayActorManager._actor_task_failed
    if getattr(handler, "_orchestrator", False):
        handler = handler.__closure__[0].cell_contents
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", handler)


def fail_task(error: RayError) -> list[tuple[str, Exception]]:
    """Let a tracked task of Ray's actor manager fail, and return what it calls back."""
    heard: list[tuple[str, Exception]] = []
    actor = TrackedActor(1, on_error=lambda actor, problem: heard.append(("actor", problem)))
    task = TrackedActorTask(actor, on_error=lambda actor, problem: heard.append(("task", problem)))
    manager = RayActorManager(resource_manager=FixedResourceManager({"CPU": 1}))
    manager._cleanup_actor = lambda tracked_actor: None  # nothing was started
    manager._actor_task_failed(task, error)
    return heard


@pytest.mark.usefixtures("unpatched")
def test_ray_ends_the_experiment_where_the_shim_is_missing() -> None:
    with pytest.raises(RuntimeError, match="unexpected exception"):
        fail_task(OutOfMemoryError("the node ran out of memory"))


@pytest.mark.usefixtures("unpatched")
@pytest.mark.parametrize(
    "error",
    [OutOfMemoryError("the node ran out of memory"), ObjectLostError("ab", None, "")],
    ids=lambda error: type(error).__name__,
)
def test_shim_turns_another_ray_error_into_a_lost_actor(error: RayError) -> None:
    treat_lost_results_as_lost_actors()
    heard = fail_task(error)
    assert [who for who, _ in heard] == ["actor", "task"]
    assert all(isinstance(problem, RayActorError) for _, problem in heard)
    assert type(error).__name__ in str(heard[0][1])


@pytest.mark.usefixtures("unpatched")
def test_shim_is_put_on_once() -> None:
    treat_lost_results_as_lost_actors()
    first = RayActorManager._actor_task_failed
    treat_lost_results_as_lost_actors()
    assert RayActorManager._actor_task_failed is first


class Counting(tune.Trainable):
    """Two steps; says which process it is and what its config holds when a step runs."""

    def setup(self, config: dict[str, Any]) -> None:
        self.seen = dict(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.seen = dict(new_config)
        return True

    def step(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "said": self.seen["said"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


class PausesAll(TrialScheduler):
    """Pauses every trial after its first step, lets it go on with a changed config, and remembers what Ray handed in."""

    def __init__(self) -> None:
        super().__init__()
        self.controllers: set[type] = set()
        self.warm: list[int] = []
        self.pids: list[int] = []
        self.said: list[str] = []

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self.controllers.add(type(tune_controller))
        if not self.warm:
            keep_workers_warm(tune_controller, trial.placement_group_factory, 2)
            self.warm.append(vars(tune_controller)["_tune_controller"]._actor_cache.total_max_objects)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self.pids.append(result["pid"])
        self.said.append(result["said"])
        if result["said"] == "go on":
            return TrialScheduler.STOP
        set_trial_config(trial, "said", "go on")
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return TrialScheduler.NOOP

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        trials = tune_controller.get_trials()
        waiting = next((trial for trial in trials if trial.status == Trial.PENDING), None)
        # All are paused before the first one goes on: that is what throws workers away unless they are kept.
        if waiting is not None or len(self.pids) < 2:
            return waiting
        return next((trial for trial in trials if trial.status == Trial.PAUSED), None)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Not in this experiment."""

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Nothing to do."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing to do."""

    def debug_string(self) -> str:
        return "pauses all"

    def __getstate__(self) -> dict[str, Any]:
        return {}


@pytest.mark.timeout(60)
def test_paused_trials_go_on_in_warm_workers_with_their_new_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    scheduler = PausesAll()
    results = tune.Tuner(
        Counting,
        param_space={"said": "wait", "number": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(name="internals", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert [result.error for result in results] == [None, None]
    assert scheduler.controllers == {TrialRunnerWrapper}
    assert scheduler.warm == [2]
    assert sorted(scheduler.said) == ["go on", "go on", "wait", "wait"]
    assert len(set(scheduler.pids)) == 2, "a paused worker was thrown away"
