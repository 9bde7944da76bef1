"""The oldest and the newest packages that pyproject.toml admits each run a sweep, go on after a kill, and export.

Each set is installed from the package index into a virtual environment of its own (some 7 GB, most of it torch), with the
package itself, as a user installs it: constraints-oldest.txt and constraints-newest.txt hold the exact versions.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SETS = ("oldest", "newest")
# Optuna proposes the last trial; peft adapts the model of two of the first three.
SMALL = ["--trials", "4"]
for field in ("budget.samples=512", "resources.concurrency=1", "searcher.kind=tpe", "searcher.startup_trials=3"):
    SMALL += ["--set", field]
INSTALL_SECONDS = 2400
SWEEP_SECONDS = 600


def requirements() -> dict[str, Requirement]:
    """What the package needs, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {each.name.lower(): each for each in map(Requirement, project["dependencies"])}


def versions(name: str) -> dict[str, Version]:
    """The exact versions of a set, by name."""
    lines = (ROOT / f"constraints{name}.txt").read_text().splitlines()
    pairs = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {package.lower().replace("_", "-"): Version(version) for package, _, version in pairs}


def test_the_sets_are_the_ends_of_the_ranges() -> None:
    needed, oldest, newest = requirements(), versions("-oldest"), versions("-newest")
    tested = versions("")
    assert oldest.keys() == newest.keys() == needed.keys()
    for name, requirement in needed.items():
        (lower,) = [each for each in requirement.specifier if each.operator == ">="]
        assert oldest[name] == Version(lower.version), name
        assert newest[name] in requirement.specifier, name
        assert oldest[name] <= tested[name] <= newest[name], f"constraints.txt holds {name} {tested[name]}"


# What a set must be able to do is asked of an installed package, from outside the repository.


@pytest.fixture(scope="module")
def index() -> None:
    """Skip where no package index answers."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "download",
            "--quiet",
            "--no-deps",
            "--no-cache-dir",
            "--retries",
            "0",
            "--timeout",
            "20",
            "-d",
            folder,
        ]
        done = _run([sys.executable, "-m", "pip", *words, "hatchling==1.27.0"], Path(folder), 120)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1]
        pytest.skip(f"no package index is reachable: {reason}")


@pytest.fixture(scope="module", params=SETS)
def installed(request: pytest.FixtureRequest, index: None) -> Iterator[Path]:
    """The ``bin`` folder of a fresh environment that holds one set; removed afterwards, for its size."""
    with tempfile.TemporaryDirectory(prefix=f"orchestrator-{request.param}-") as folder:
        constraints = ROOT / f"constraints-{request.param}.txt"
        binaries = Path(folder) / "venv" / "bin"
        _checked([sys.executable, "-m", "venv", str(binaries.parent)], Path(folder), 120)
        install = [
            str(binaries / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
            "-c",
            str(constraints),
        ]
        _checked([*install, str(ROOT)], Path(folder), INSTALL_SECONDS)
        yield binaries


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(2 * INSTALL_SECONDS)
def test_a_set_runs_a_sweep_goes_on_after_a_kill_and_exports(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "orchestrate")]
    sweep = [*command, "run", "quickstart", *SMALL, "--storage", "runs", "--json"]
    journal = tmp_path / "runs" / "quickstart" / "journal.jsonl"
    _kill_at_milestone(sweep, tmp_path, journal, 5)
    before = _milestones(journal)
    assert 0 < len(before) < 24

    result = json.loads(_checked(sweep, tmp_path, SWEEP_SECONDS).stdout)
    assert result["status"] == "completed"
    methods = [trial["config"]["method"] for trial in result["trials"]]
    assert len(methods) == 4
    assert {"lora", "ia3"} & set(methods)
    assert result["winner"]["scores"]["eval/loss"] < result["base_scores"]["eval/loss"]
    counted = Counter(_milestones(journal))
    assert set(before) < set(counted)
    assert max(counted.values()) == 1, "a milestone was trained twice"
    saved = journal.parent / "trials" / result["winner"]["trial_id"]
    assert list(saved.glob("m*/*.safetensors")), "nothing was saved"

    again = json.loads(_checked(sweep, tmp_path, SWEEP_SECONDS).stdout)
    assert again["winner"] == result["winner"]
    assert Counter(_milestones(journal)) == counted, "a finished sweep trained on"

    _checked(
        [*command, "export", "quickstart", "--to", "best", "--merge", "--storage", "runs"], tmp_path, SWEEP_SECONDS
    )
    load = "from transformers import AutoModelForCausalLM as A; print(A.from_pretrained('best').num_parameters())"
    assert int(_checked([str(installed / "python"), "-c", load], tmp_path, 120).stdout) > 1_000_000
    report = _checked([*command, "status", "quickstart", "--storage", "runs", "--json"], tmp_path, 120).stdout
    assert json.loads(report)["status"] == "completed"


def _milestones(journal: Path) -> list[tuple[str, int]]:
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    return [(each["trial"], each["index"]) for each in records if each["kind"] == "milestone"]


def _kill_at_milestone(command: list[str], folder: Path, journal: Path, count: int) -> None:
    """Start a sweep and kill it, workers and all, once its journal holds so many milestones."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until = time.monotonic() + SWEEP_SECONDS
    try:
        while not (journal.exists() and journal.read_text().count('"kind": "milestone"') >= count):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < until, "the sweep does not come to its milestones"
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr:
            process.stderr.close()


def _environment() -> Mapping[str, str]:
    """This process's, without what would lead back to the repository or to the network."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _run(command: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=seconds, check=False
    )


def _checked(command: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    done = _run(command, folder, seconds)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done
