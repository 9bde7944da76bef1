"""The wheel stands alone: it carries sweep files, cluster profiles, test bed and schema, and works outside the repository."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel and unpack it into a folder of its own, as an installation would."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.stat().st_size < 20e6
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def call(installed, folder, *words):
    """Run the command from another folder; the repository is nowhere on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "orchestrator.cli", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )


def test_wheel_carries_what_the_repository_ships(installed):
    package = installed / "orchestrator"
    assert (package / "py.typed").exists()
    assert (package / "decisions" / "forecast" / "forecast_weights.npz").exists()
    assert (package / "spec" / "sweep.schema.json").exists()
    registered = package / "reporting" / "findings" / "registration" / "registered"
    assert {file.stem for file in registered.glob("*.yaml")} >= {"shared", *(f"F{number}" for number in range(1, 8))}
    for folder in ("search_spaces", "clusters"):
        shipped = {file.relative_to(ROOT / folder) for file in (ROOT / folder).rglob("*.yaml")}
        assert shipped <= {
            file.relative_to(package / "shipped" / folder)
            for file in (package / "shipped").rglob("*.yaml")
            if file.is_relative_to(package / "shipped" / folder)
        }


def test_a_shipped_sweep_is_planned_by_its_name_outside_the_repository(installed, tmp_path):
    done = call(installed, tmp_path, "plan", "quickstart", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["trials"]) == 24
    origin = "import orchestrator; print(orchestrator.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    found = subprocess.run(
        [sys.executable, "-c", origin], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert str(installed) in found.stdout


def test_a_name_that_is_nearly_shipped_is_told(installed, tmp_path):
    done = call(installed, tmp_path, "plan", "quikstart")
    assert done.returncode == 2
    assert "quickstart" in done.stderr
