"""The catalogue: names, options, ranges, and its agreement with the registry and the installed peft."""

import json
import pickle
import subprocess
import sys

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.methods import catalogue
from orchestrator.spec.methods.entries import ENTRIES, EXCLUDED
from orchestrator.spec.methods.entry import FAMILIES
from orchestrator.spec.methods.peft_options import FIELDS_FILE
from orchestrator.training.methods import build_method, method_class
from orchestrator.training.methods.adapters.peft_adapter import PeftMethod
from orchestrator.training.methods.adapters.refresh_peft_fields import peft_fields
from tests.worlds.methods_support import tiny_batch


def test_every_entry_has_a_class_and_none_is_excluded():
    classes = {name: method_class(name) for name in ENTRIES}
    assert list(catalogue.METHODS) == list(classes)
    assert not set(EXCLUDED) & set(ENTRIES)
    # a peft config is read by the peft adapter and its kin, and by nothing else
    assert {name for name, found in classes.items() if issubclass(found, PeftMethod)} == {
        name for name, entry in ENTRIES.items() if entry.config
    }


def test_catalogue_fields_are_those_of_the_installed_peft():
    stored = json.loads(FIELDS_FILE.read_text(encoding="utf-8"))
    installed = json.loads(json.dumps(peft_fields()))
    assert stored["configs"] == installed["configs"], (
        "run python -m orchestrator.training.methods.adapters.refresh_peft_fields"
    )
    minors = {version.rpartition(".")[0] for version in (stored["peft_version"], installed["peft_version"])}
    assert len(minors) == 1, "the fields are those of another minor version of peft"


def test_catalogue_imports_neither_torch_nor_peft():
    code = "import sys, orchestrator.spec.methods.catalogue; print([m for m in ('torch', 'peft', 'pydantic') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_an_exported_model_is_said_to_need_tasks_where_its_forward_gets_them():
    told = {name for name in ENTRIES if build_method(name).forward_kwargs(tiny_batch())}
    assert (
        told == {name for name, entry in ENTRIES.items() if entry.needs_task_ids} == {"poly", "multitask_prompt_tuning"}
    )


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_catalogue_entry_is_complete_and_its_defaults_are_valid(name):
    info = catalogue.METHODS[name]
    low, high = info.learning_rate
    assert 0 < low < high
    assert info.learning_rate_evidence
    assert info.summary
    assert info.family == info.family_cohort
    assert info.family in FAMILIES
    assert catalogue.resolve_options(name, info.default_options) == info.default_options
    assert pickle.loads(pickle.dumps(info)) == info


def test_learning_rate_range_is_a_factor_ten_either_side():
    low, high = catalogue.default_learning_rate_range("full")
    assert (low, high) == pytest.approx((1e-6, 1e-4))


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("loraa", {}, ["loraa", "did you mean 'lora'"]),
        ("xlora", {}, ["cannot be swept", "trained before"]),
        ("lora", {"alpha": 8}, ["lora.alpha", "lora_alpha"]),
        ("lora", {"r": "many"}, ["lora.r", "many", "int"]),
        ("lora", {"r": 8.5}, ["8.5"]),
        ("lora", {"use_dora": 1}, ["bool"]),
        ("lora", {"init_lora_weights": "pisa"}, ["did you mean 'pissa'"]),
        ("lora", {"init_lora_weights": "eva"}, ["init_lora_weights"]),
        ("lora", {"kasa_config": {}}, ["no option of this name"]),
        ("dora", {"use_dora": False}, ["fixes use_dora to True"]),
        ("kasa", {"kasa_config": {"betta": 1}}, ["kasa.kasa_config.betta", "did you mean 'beta'"]),
        ("llrd", {"decay": 2}, ["at most 1"]),
        ("llrd", {"decay": 0.0}, ["at least"]),
        ("freeze_lower", {"layers": 1, "share": 0.5}, ["only one of layers and share"]),
        ("full", {"r": 8}, ["it takes no options"]),
        ("full", {"lerning_rate": 1e-3}, ["learning_rate"]),
    ],
)
def test_check_options_names_the_mistake(method, options, words):
    with pytest.raises(SpecError) as error:
        catalogue.check_options(method, options, "sweep.yaml")
    message = str(error.value).lower()
    assert message.startswith("sweep.yaml")
    for word in words:
        assert word.lower() in message


def test_resolve_options_mends_yaml_types():
    resolved = catalogue.resolve_options(
        "lora", {"lora_dropout": "1e-1", "r": 8.0, "init_lora_weights": "pissa_niter_4"}
    )
    assert resolved["lora_dropout"] == 0.1
    assert (resolved["r"], type(resolved["r"])) == (8, int)
    assert resolved["target_modules"] == "all-linear"


def test_resolve_options_drops_the_default_that_a_given_option_replaces():
    assert catalogue.resolve_options("freeze_lower", {"layers": 1}) == {"layers": 1}
    assert catalogue.resolve_options("freeze_lower", {}) == {"share": 0.5}


def test_method_summary_table_has_a_row_for_every_method():
    rows = catalogue.method_summary_table()
    assert [row["method"] for row in rows] == list(catalogue.METHODS)
    assert all(isinstance(cell, str) for row in rows for cell in row.values())


def test_build_method_gives_a_fresh_object_with_resolved_options():
    first, second = build_method("lora", {"r": 4}), build_method("lora", {"r": 4})
    assert first is not second
    assert first.options == {"r": 4, "lora_alpha": 32, "target_modules": "all-linear"}
