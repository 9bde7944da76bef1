"""The sweep files that ship: each loads, and every_feature.yaml really shows every feature."""

import re
from pathlib import Path

import pytest

from orchestrator.spec import sweep
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.search_space.domains import Choice, Fixed, Integer, Uniform
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.spec.trial.schedules import SCHEDULES
from orchestrator.tuning.own_training.inspect_entrypoint import inspect_entrypoint

FOLDER = Path(__file__).resolve().parents[2] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
EXAMPLES = sorted((FOLDER / "examples").glob("*.yaml"))
EVERY_FEATURE = FOLDER / "every_feature.yaml"
OWN_CODE = FOLDER / "own_code.yaml"


def field_names(model):
    """Return the names of all fields of a model and of the models inside it."""
    names = set()
    schema = model.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        names |= set(part["properties"])
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shipped_sweep_file_loads(file):
    spec = load_sweep(file)
    assert spec.name == file.stem


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shipped_sweep_file_plans_for_its_data(file):
    plan = plan_sweep(load_sweep(file), rows=2000)
    assert plan.trials >= 12
    assert plan.levels[-1] == plan.samples
    assert plan.rung_indices


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_shipped_example_finds_its_code_and_plans(file):
    spec = load_sweep(file)
    report = inspect_entrypoint(spec.entrypoint, str(file))
    plan = plan_sweep(spec, None)
    assert spec.name == file.stem
    assert list(report.files) == [f"{file.stem}.py"]
    assert plan.rung_indices
    assert f"examples/{file.name}" in (FOLDER.parent / "docs" / "howto" / "own-training.md").read_text()


def test_dolly_takes_model_and_data_from_overrides():
    spec = load_sweep(FOLDER / "dolly.yaml", ["model=./my-model", "data.train=./rows.jsonl"])
    assert (spec.model.path, spec.data.train) == ("./my-model", "./rows.jsonl")


def test_dolly_searches_every_method_in_its_own_learning_rates():
    space = load_sweep(FOLDER / "dolly.yaml").search_space
    ranges = {method: space.learning_rate_of(method) for method in space.method}
    assert all(isinstance(domain, Uniform) and domain.log for domain in ranges.values())
    assert ranges["full"].high < ranges["lora"].high


def test_every_feature_shows_every_field():
    text = "".join(file.read_text(encoding="utf-8") for file in (EVERY_FEATURE, OWN_CODE))
    missing = {name for name in field_names(sweep.SweepSpec) if not re.search(rf"\b{name}:", text)}
    assert missing == {"plugins"}, "digests, which are filled in when a file is read"


def test_every_feature_shows_every_kind_of_domain():
    space = load_sweep(EVERY_FEATURE).search_space
    domains = [domain for method in space.method for domain in space.dimensions(method).values()]
    assert {type(domain) for domain in domains} == {Fixed, Choice, Uniform, Integer}
    uniform = [domain for domain in domains if isinstance(domain, Uniform)]
    integer = [domain for domain in domains if isinstance(domain, Integer)]
    assert {domain.log for domain in uniform} == {True, False}
    assert any(domain.quantum for domain in uniform)
    assert any(domain.points for domain in uniform)
    assert any(domain.step > 1 for domain in integer)
    assert any(domain.log for domain in integer)


def test_every_feature_shows_every_schedule_and_unit_of_warmup():
    space = load_sweep(EVERY_FEATURE).search_space
    names = {value if isinstance(value, str) else value["name"] for value in space.schedule.grid()}
    units = {next(iter(value)) for value in space.warmup.grid() if value != 0}
    assert names == set(SCHEDULES)
    assert units == {"steps", "samples", "ratio"}
