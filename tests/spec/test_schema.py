"""The shipped JSON Schema is the generated one, accepts every shipped file, and refuses slips."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.spec.reading.yaml_text import read_value, read_yaml
from orchestrator.spec.schema import SCHEMA_FILE, schema_text, sweep_schema
from tests.worlds.sweep_files import ROOT, SWEEP

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with ray")


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(sweep_schema())
    return jsonschema.Draft202012Validator(sweep_schema())


def test_shipped_schema_is_the_generated_one() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run: python -m orchestrator.spec.schema"


def test_module_rewrites_the_shipped_schema() -> None:
    before = SCHEMA_FILE.read_bytes()
    subprocess.run([sys.executable, "-m", "orchestrator.spec.schema"], check=True, cwd=ROOT)
    assert SCHEMA_FILE.read_bytes() == before


@pytest.mark.parametrize(
    "file", sorted((ROOT / "search_spaces").rglob("*.yaml")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_shipped_sweep_files_fit_the_schema(validator: Any, file: Path) -> None:
    values, _ = read_yaml(file)
    assert [error.message for error in validator.iter_errors(values)] == []


@pytest.mark.parametrize(
    "added",
    ["model: testbed", "searcher: tpe", "objective: eval/loss", "cluster: existing", "milestones: [0.5, 1.0]"],
)
def test_short_forms_fit_the_schema(validator: Any, added: str) -> None:
    values = {**yaml.safe_load(SWEEP), **read_value(added)}
    assert [error.message for error in validator.iter_errors(values)] == []


@pytest.mark.parametrize("method", ["full", ["full", "lora"], {"full": None, "lora": {"r": [4, 8]}}])
@pytest.mark.parametrize("warmup", [0, {"ratio": 0.1}, [0, {"steps": 3}], {"choice": [0, {"samples": 8}]}])
def test_short_forms_of_the_search_space_fit_the_schema(validator: Any, method: Any, warmup: Any) -> None:
    values = yaml.safe_load(SWEEP)
    values["search_space"] |= {"method": method, "warmup": warmup, "schedule": {"name": "wsd", "decay_share": 0.1}}
    assert [error.message for error in validator.iter_errors(values)] == []


@pytest.mark.parametrize(
    "added", ["budgt: 3", "budget: {trails: 3}", "milestones: 3", "searcher: sobl", "data: {train: a, colums: {}}"]
)
def test_slips_do_not_fit_the_schema(validator: Any, added: str) -> None:
    assert not validator.is_valid({**yaml.safe_load(SWEEP), **read_value(added)})


def test_every_field_of_the_schema_is_described() -> None:
    schema = json.loads(schema_text())
    models = {"": schema, **schema["$defs"]}
    bare = [
        f"{name}.{field}"
        for name, model in models.items()
        for field, body in model.get("properties", {}).items()
        if not body.get("description") and "$ref" not in body
    ]
    assert bare == []
