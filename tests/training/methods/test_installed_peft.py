"""A peft that has not all of the catalogue is told by its version, not as a fault of the model."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import peft
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from peft.tuners.lora import config as lora_config

from orchestrator.errors import ModelError
from orchestrator.training.methods import MethodContext, build_method
from orchestrator.training.methods.adapters.installed_peft import TESTED
from tests.worlds.trial_world import tiny_model

ROOT = Path(__file__).parents[3]


def wrap(method: str) -> Any:
    return build_method(method, {}).wrap_model(tiny_model(), MethodContext(steps=4, seed=0))


def test_tested_versions_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (required,) = [each for each in map(Requirement, project["dependencies"]) if each.name == "peft"]
    assert required.specifier == SpecifierSet(TESTED)


def without_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(peft, "ShadowConfig")


def without_field(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [each for each in dataclasses.fields(peft.LoraConfig) if each.name != "kasa_config"]
    monkeypatch.setattr(peft, "LoraConfig", dataclasses.make_dataclass("LoraConfig", [each.name for each in kept]))


def without_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in list(vars(lora_config).items()):
        if dataclasses.is_dataclass(value) and {"beta", "gamma"} <= {each.name for each in dataclasses.fields(value)}:
            monkeypatch.delattr(lora_config, name)


@pytest.mark.parametrize(
    ("method", "older", "lacks"),
    [
        ("shadow", without_class, "no ShadowConfig"),
        ("kasa", without_field, "no kasa_config in LoraConfig"),
        ("kasa", without_nested, "no config with the fields beta, gamma"),
    ],
)
def test_an_older_peft_is_told(method: str, older: Any, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    older(monkeypatch)
    monkeypatch.setattr(peft, "__version__", "0.20.0")
    with pytest.raises(ModelError, match=lacks) as told:
        wrap(method)
    assert told.value.field == method
    assert "the installed 0.20.0" in str(told.value)
    assert "pip install 'peft>=0.21,<0.22'" in str(told.value)
