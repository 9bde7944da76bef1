"""What the pages docs/howto/extend-*.md say works: their files pass their own contracts, are validated, and train a sweep."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.api import read_sweep
from orchestrator.api.plan.preflight import validate_sweep
from orchestrator.simulation.recorded.files import write_recorded
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep
from orchestrator.spec.loading import load_sweep
from orchestrator.storage.sweep_folder import SweepFolder
from tests.worlds.doc_blocks import ROOT, read_blocks
from tests.worlds.shared_ray import SharedRay, answer, call

PAGES = sorted((ROOT / "docs" / "howto").glob("extend-*.md"))

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of all pages, beside each other, each page's sweep under the page's name."""
    place = tmp_path_factory.mktemp("extend")
    for page in PAGES:
        for block in read_blocks(page):
            if block.language == "python":
                name = block.text.splitlines()[0].removeprefix("# ")
                assert name.endswith(".py"), f"{block.label} begins with the name of its file"
                (place / name).write_text(block.text)
            elif block.language == "yaml":
                (place / f"{page.stem}.yaml").write_text(block.text)
    return place


def test_every_kind_has_its_page() -> None:
    kinds = {"method", "optimizer", "schedule", "tracker", "evaluation", "stopping-rule", "searcher"}
    assert {page.stem.removeprefix("extend-") for page in PAGES} == kinds


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_sweep_of_a_page_is_validated_and_says_that_it_imports(page: Path, folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    file = folder / f"{page.stem}.yaml"
    spec = load_sweep(file, [f"storage={json.dumps(str(tmp_path))}"], said.append)
    assert len(said) == 1
    assert said[0].startswith("Importing ")
    assert spec.plugins
    assert validate_sweep(spec, where=str(file)).plan.trials >= 2
    assert load_sweep(file).digest == spec.digest


def test_the_contracts_of_all_pages_pass(folder: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *map(str, sorted(folder.glob("test_*.py"))),
    ]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_rule_is_replayed_on_recorded_sweeps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write_recorded(synthetic_sweep(6, seed=0), folder / "quickstart.jsonl.gz")
    done = call("replay", "quickstart.jsonl.gz", "--rules", "ours,high_norms.py:HighNorms", "--draws", "1", "--json")
    assert {rule["name"] for rule in answer(done)["rules"]} >= {"ours", "high_norms"}


@pytest.mark.ray
def test_all_of_them_train_one_sweep(folder: Path, shared_ray: SharedRay, tmp_path: Path) -> None:
    sweep = {
        "name": "all",
        "model": "testbed",
        "data": {"train": "testbed:sft", "held_out": 0.1, "limit": 160},
        "evaluation": [
            {"name": "eval", "kind": "loss", "data": "held_out"},
            {
                "name": "style",
                "kind": "brevity.py:brevity",
                "limit": 4,
                "max_new_tokens": 4,
                "options": {"characters": 12},
            },
        ],
        "objective": {"metric": {"eval/loss": 1, "style/length": 0.001}},
        "search_space": {
            "method": {"last_blocks.py:LastBlocks": {"blocks": 1}},
            "optimizer": ["adamw", {"name": "sign_momentum.py:sign_momentum", "momentum": 0.95}],
            "schedule": {"name": "inverse_sqrt.py:inverse_sqrt", "timescale": 4},
            "learning_rate": [1e-4, 1e-3],
            "effective_batch_size": 8,
        },
        "searcher": {"kind": "middle_out.py:middle_out", "options": {"centre": 1e-3}},
        "stopping": {"rules": [{"rule": "high_norms.py:HighNorms", "factor": 1.0}], "forecast": {"enabled": False}},
        "tracking": {"tracker": "lines.py:lines"},
        "budget": {"samples": 64},
        "milestones": [0.5, 1.0],
    }
    file = folder / "all.yaml"
    file.write_text(yaml.safe_dump(sweep))
    result = shared_ray.result(file, "--storage", tmp_path)
    assert result["status"] == "completed"
    names = [trial["name"] for trial in result["trials"]]
    assert len(names) == 4
    assert all(name.startswith("LastBlocks ") for name in names)
    assert [trial["config"]["learning_rate"] for trial in result["trials"]][:2] == [1e-3, 1e-3], "the searcher's order"
    assert {trial["config"]["optimizer"] for trial in result["trials"]} == {"adamw", "sign_momentum.py:sign_momentum"}
    assert all({"style/short", "style/length"} <= trial["scores"].keys() for trial in result["trials"])
    lines = [json.loads(line) for line in (tmp_path / "all.lines.jsonl").read_text().splitlines()]
    assert {line["trial"] for line in lines} == {trial["trial_id"] for trial in result["trials"]}
    stored = list((tmp_path / "all" / "plugins").glob("*.json"))
    assert len(stored) == 7
    assert not (tmp_path / "mlflow.db").exists()
    again = read_sweep(SweepFolder(tmp_path, "all"))
    assert [trial.result.name for trial in again.trials] == names


@pytest.mark.ray
def test_a_rule_that_fails_ends_the_session_with_its_line_and_the_sweep_resumes(
    folder: Path, shared_ray: SharedRay, tmp_path: Path
) -> None:
    code, sweep = (folder / "high_norms.py").read_text(), (folder / "extend-stopping-rule.yaml").read_text()
    broken = code.replace("norms = [", "norms = 1 / 0, [", 1)
    (tmp_path / "high_norms.py").write_text(broken)
    (tmp_path / "rule.yaml").write_text(sweep)
    line = next(i for i, text in enumerate(broken.splitlines(), 1) if "1 / 0" in text)
    done = shared_ray.run(tmp_path / "rule.yaml", "--storage", tmp_path / "runs")
    assert done.returncode == 2
    assert f"high_norms.py:{line}: its code failed: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "high_norms.py").write_text(code)
    done = shared_ray.run(tmp_path / "rule.yaml", "--storage", tmp_path / "runs")
    assert done.returncode == 2, "other code is another sweep"
    assert shared_ray.result(tmp_path / "rule.yaml", "--storage", tmp_path / "runs", "--fresh")["status"] == "completed"


@pytest.mark.ray
def test_a_sweep_is_not_resumed_with_other_code(folder: Path, shared_ray: SharedRay, tmp_path: Path) -> None:
    file = folder / "extend-schedule.yaml"
    shared_ray.result(file, "--storage", tmp_path)
    code = folder / "inverse_sqrt.py"
    before = code.read_text()
    try:
        code.write_text(before + "\n# changed\n")
        done = shared_ray.run(file, "--storage", tmp_path)
    finally:
        code.write_text(before)
    assert done.returncode == 2
    assert "plugins.schedule inverse_sqrt.py:inverse_sqrt" in done.stderr
    assert "Traceback" not in done.stderr
    assert shared_ray.result(file, "--storage", tmp_path)["status"] == "completed"
