"""Rooms import downward only, and light modules stay light: by contract, and in a fresh interpreter."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"ray", "torch", "mlflow", "transformers", "peft", "optuna", "datasets", "accelerate"}


def modules(*packages: str) -> list[str]:
    """Return the packages and every module below them."""
    found = list(packages)
    for name in packages:
        folder = ROOT / name.replace(".", "/")
        found += [info.name for info in pkgutil.walk_packages([str(folder)], f"{name}.")] if folder.is_dir() else []
    return found


def loaded_by(names: list[str]) -> dict[str, list[str]]:
    """Import modules one after another in a fresh interpreter; return the top-level packages loaded after each."""
    code = (
        "import importlib, json, sys\n"
        "loaded = {}\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    loaded[name] = sorted({module.partition('.')[0] for module in sys.modules})\n"
        "print(json.dumps(loaded))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return loaded


def assert_without(names: list[str], forbidden: set[str]) -> None:
    """Fail with the first module after whose import a forbidden package is loaded."""
    for name, loaded in loaded_by(names).items():
        found = forbidden.intersection(loaded)
        assert not found, f"importing {name} loads {', '.join(sorted(found))}"


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


LIGHT = [
    "orchestrator",
    "orchestrator.cli",
    "orchestrator.errors",
    "orchestrator.records",
    *modules(
        "orchestrator.settings",
        "orchestrator.results",
        "orchestrator.plugins",
        "orchestrator.spec",
        "orchestrator.decisions",
    ),
]


def test_light_modules_load_nothing_heavy() -> None:
    assert_without(LIGHT, HEAVY)


@pytest.mark.parametrize("name", ["orchestrator", "orchestrator.cli", "orchestrator.records", "orchestrator.errors"])
def test_first_import_is_light_by_itself(name: str) -> None:
    assert_without([name], HEAVY | {"pydantic", "numpy", "yaml"})


STANDARD_LIBRARY_ONLY = [
    f"orchestrator.spec.{name}"
    for name in (
        "trial.batch_plan",
        "trial.schedules",
        "trial.identity",
        "trial.dimensions",
        "trial.optimizers",
        "trial.data_strategies",
        "methods.catalogue",
        "options.declared",
        "evaluations.sets",
        "evaluations.identity",
    )
]


def test_what_training_uses_of_spec_is_standard_library_only() -> None:
    assert_without(STANDARD_LIBRARY_ONLY, HEAVY | {"pydantic", "pydantic_core", "yaml", "numpy"})


def test_training_loads_no_ray_mlflow_pydantic_optuna() -> None:
    assert_without(modules("orchestrator.training", "orchestrator.testbed"), {"ray", "mlflow", "optuna", "pydantic"})


def test_integrations_load_no_ray_mlflow_pydantic_optuna() -> None:
    assert_without(modules("orchestrator.integrations"), {"ray", "mlflow", "optuna", "pydantic"})


def test_a_trial_object_needs_the_standard_library_alone() -> None:
    heavy = HEAVY | {"pydantic", "pydantic_core", "yaml", "numpy"}
    assert_without(
        ["orchestrator.integrations", "orchestrator.integrations.launch", "orchestrator.integrations.fork_server"],
        heavy,
    )


def test_tuning_and_reporting_load_no_mlflow() -> None:
    rooms = ("tuning", "reporting", "history", "coordinating", "storage", "api")
    assert_without(modules(*(f"orchestrator.{name}" for name in rooms)), {"mlflow"})


def test_one_sweeps_state_and_its_storage_load_no_ray_torch_mlflow() -> None:
    assert_without(modules("orchestrator.storage", "orchestrator.coordinating"), {"ray", "torch", "mlflow", "peft"})


def test_every_module_can_be_imported_alone() -> None:
    names = modules("orchestrator")
    assert len(names) > 60
    light = [name for name in names if name in LIGHT]
    for name in light[:: max(1, len(light) // 8)]:
        assert loaded_by([name])


def test_public_names_are_there() -> None:
    for name in orchestrator.__all__:
        assert callable(getattr(orchestrator, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = orchestrator.nothing
