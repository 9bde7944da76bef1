"""The paper's grids as shipped sweep files: each plans without weights and data, at the cost that its header states."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.api import plan_trials, validate_sweep
from orchestrator.api.run.run import run_sweep
from orchestrator.cli import app
from orchestrator.errors import InputError
from orchestrator.reporting.terminal.plans import cost_lines
from orchestrator.spec.loading import load_sweep
from orchestrator.training.model.architectures import ARCHITECTURES

FOLDER = Path(__file__).resolve().parents[2] / "search_spaces" / "secret_recipe"
FILES = sorted(FOLDER.rglob("*.yaml"))
RATES = {1e-6, 5e-6, 2e-5, 3e-5, 4e-5, 6e-5, 8e-5, 1e-4}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.training.model.hub.is_reachable", lambda: False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def load(name: str):
    return load_sweep(f"secret_recipe/{name}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_plans_at_the_cost_of_its_header(file: Path, tmp_path: Path) -> None:
    spec = load_sweep(file, [f"storage={tmp_path / 'runs'}"])
    plan = plan_trials(spec, where=str(file))
    stated = re.findall(r"^# (cost: .*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert stated == cost_lines(plan.as_dict())
    assert plan.validation.setup.missing
    assert spec.name == f"secret_recipe_{file.stem}"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_keeps_the_papers_optimizer_and_stops_nothing(file: Path) -> None:
    text, spec = file.read_text(encoding="utf-8"), load_sweep(file)
    space = spec.search_space
    fixed = [space.beta1, space.beta2, space.weight_decay, space.clip_norm]
    assert [list(domain.grid()) for domain in fixed] == [[0.9], [0.95], [0.0], [1.0]]
    assert space.repeats >= 3
    assert "the paper has one seed" in text
    assert text.startswith("# Answers: ")
    assert "# Left open by the paper" in text
    assert not spec.stopping.rungs.enabled
    assert spec.model.path in ARCHITECTURES


def test_files_hold_the_papers_grids() -> None:
    assert {load(f"{model}_lab").model.path for model in ("granite_3b", "granite_7b", "llama_3b", "mistral_7b")} == set(
        ARCHITECTURES
    )
    grid = load("granite_7b_batch_rate").search_space
    assert set(grid.effective_batch_size.grid()) == {128, 3840, 7680}
    assert set(grid.learning_rate_of("full").grid()) == RATES
    mistral = load("mistral_7b_batch_rate").search_space
    assert set(mistral.learning_rate_of("full").grid()) == {1e-6, 5e-6, 2e-5}
    assert list(load("granite_7b_warmup").search_space.warmup.grid()) == [0, {"steps": 25}, {"steps": 100}]
    assert list(load("granite_7b_schedule").search_space.schedule.grid()) == ["constant", "cosine"]
    recipes = [load(f"llama_3b_{name}") for name in ("lab", "tulu", "tulu_plus")]
    assert [spec.budget.epochs for spec in recipes] == [10, 2, 4]
    assert [list(spec.search_space.learning_rate_of("full").grid()) for spec in recipes] == [[2e-5], [2e-5], [3e-5]]
    length = load("granite_7b_answer_length").data
    assert [(phase.share, phase.replay) for phase in length.phases] == [(0.5, 0.0), (0.5, 0.01)]


def test_run_without_weights_and_data_says_so_and_writes_nothing(tmp_path: Path) -> None:
    spec = load_sweep("secret_recipe/granite_7b_lab", [f"storage={tmp_path / 'runs'}"])
    with pytest.raises(InputError) as found:
        run_sweep(spec, where="granite_7b_lab.yaml")
    message = str(found.value)
    assert "ibm-granite/granite-7b-base: the weights are not here" in message
    assert "./instructlab/instructions.jsonl" in message
    assert "2 more of the 3 sources" in message
    assert "--set model=" in message
    assert not (tmp_path / "runs").exists()


def test_plan_command_prints_the_cost_and_what_is_missing(tmp_path: Path) -> None:
    arguments = ["plan", "secret_recipe/llama_3b_tulu", "--storage", str(tmp_path / "runs")]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0, printed.output
    for line in re.findall(r"^# (cost: .*)$", (FOLDER / "llama_3b" / "llama_3b_tulu.yaml").read_text(), re.MULTILINE):
        assert line in printed.output
    assert "not here" in printed.output
    values = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert [cost["gpu"] for cost in values["gpu_costs"] if cost["fits"]] == ["A100-80", "H100-80", "H200-141"]
    assert values["model"]["parameters"] == 3_212_749_824
    assert values["slot_seconds_exhaustive"] is None


def test_plan_command_adds_gpus_where_all_is_here(tmp_path: Path) -> None:
    arguments = ["plan", "quickstart", "--storage", str(tmp_path / "runs")]
    assert "GPU-hours" not in CliRunner().invoke(app, arguments).output
    assert "cost: GPU-hours" in CliRunner().invoke(app, [*arguments, "--gpus"]).output


def test_validation_of_real_model_and_data_ignores_what_was_expected(tmp_path: Path) -> None:
    overrides = [
        "model=testbed",
        "data.phases=[]",
        "data.train=testbed:sft?rows=300",
        "data.held_out=20",
        "data.max_length=512",
    ]
    overrides += [
        "search_space.effective_batch_size=8",
        "evaluation=[{name: eval}]",
        f"storage={tmp_path}",
        "resources.gpu=0",
    ]
    outcome = validate_sweep(load_sweep("secret_recipe/granite_7b_tulu", overrides))
    assert outcome.setup.missing == ()
    assert outcome.setup.train.rows == 280
