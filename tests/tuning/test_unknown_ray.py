"""A Ray that was not tested, or that changed what we rely on, is told before anything starts; nothing fails silently."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import ray
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from orchestrator.errors import ClusterError
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.sweep import Resources
from orchestrator.tuning import ray_internals
from orchestrator.tuning.clusters.connect import connected
from orchestrator.tuning.ray_internals import (
    ACTOR_TASK_FAILED,
    INTERNALS,
    TESTED,
    Internal,
    check_ray,
    keep_workers_warm,
    running_cluster,
    set_trial_config,
)

ROOT = Path(__file__).parents[2]


def test_the_installed_ray_is_known() -> None:
    check_ray()


def test_tested_versions_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (required,) = [each for each in map(Requirement, project["dependencies"]) if each.name == "ray"]
    assert required.specifier == SpecifierSet(TESTED)


@pytest.mark.parametrize("version", ["2.58.0", "2.61.0", "3.0.0.dev0"])
def test_another_version_is_told_before_ray_starts(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", version)
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was started"))
    with (
        pytest.raises(ClusterError, match="not one that was tested") as told,
        connected(ClusterProfile(kind="local", cpus=1), Resources(), 1),
    ):
        pytest.fail("the sweep went on")
    assert version in str(told.value)
    assert "pip install 'ray[tune,train]" in str(told.value)


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda each: each.name)
def test_a_name_that_is_gone_is_told(internal: Internal, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Internal(internal.module, f"{internal.name}_of_old", internal.parameters)
    monkeypatch.setattr(ray_internals, "INTERNALS", (gone,))
    with pytest.raises(ClusterError, match=f"it has no {gone.module}.{gone.name}"):
        check_ray()


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda each: each.name)
def test_other_parameters_are_told(internal: Internal, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Internal(internal.module, internal.name, (*internal.parameters, "more"))
    monkeypatch.setattr(ray_internals, "INTERNALS", (other,))
    with pytest.raises(ClusterError, match=f"{internal.name} takes \\({', '.join(internal.parameters)}\\) there"):
        check_ray()


def test_a_module_that_is_gone_is_told() -> None:
    with pytest.raises(ClusterError, match=r"it has no ray.no_such_room.thing \(No module named"):
        Internal("ray.no_such_room", "thing", ()).get()


def test_what_is_found_is_rays_own() -> None:
    from ray.air.execution._internal.actor_manager import RayActorManager

    assert ACTOR_TASK_FAILED.get() is RayActorManager._actor_task_failed


def test_no_ray_runs_here_unless_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", lambda addr, temp_dir=None: addr)
    assert running_cluster() == "auto"


class Cache:
    """A cache of actors that does not grow."""

    total_max_objects = 0

    def increase_max(self, key: Any, by: int) -> None:
        """Do nothing."""


class Controller:
    def __init__(self, **held: Any) -> None:
        vars(self).update(held)


@pytest.mark.parametrize(
    ("controller", "rule"),
    [
        (Controller(), "no _actor_cache"),
        (Controller(_tune_controller=Controller()), "no _actor_cache"),
        (Controller(_tune_controller=Controller(_actor_cache=Cache())), "does not grow"),
    ],
)
def test_workers_that_would_not_be_kept_are_told(controller: Controller, rule: str) -> None:
    with pytest.raises(ClusterError, match=rule):
        keep_workers_warm(controller, {"CPU": 1}, 2)


def test_a_config_that_cannot_be_changed_is_told() -> None:
    class Copying:
        @property
        def config(self) -> dict[str, int]:
            return {"milestone": 0}

    with pytest.raises(ClusterError, match="config cannot be changed"):
        set_trial_config(Copying(), "milestone", 1)
