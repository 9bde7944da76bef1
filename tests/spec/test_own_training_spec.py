"""Sweep files with an entrypoint: what they may say, where free hyperparameters show, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.errors import SpecError
from orchestrator.records import TrialConfig
from orchestrator.spec.loading import load_sweep, parse_sweep
from orchestrator.spec.search_space.domains import Choice, Uniform
from orchestrator.spec.search_space.enumeration import count_configs, grid_configs
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.spec.trial.command_words import filled, names_in, trial_values
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name
from orchestrator.tracking.naming import config_params

VALUES: dict[str, Any] = {
    "name": "mine",
    "entrypoint": "script.py:train",
    "search_space": {
        "effective_batch_size": [8, 16],
        "learning_rate": [1e-3, 1e-2],
        "params": {"temperature": {"log_uniform": [0.01, 1]}, "pooling": ["mean", "cls"]},
    },
    "budget": {"samples": 64, "trials": 6},
}


def mine(**changes: Any) -> SweepSpec:
    space = {**VALUES["search_space"], **changes.pop("space", {})}
    return parse_sweep({**VALUES, "search_space": space, **changes}, "mine.yaml")


def test_free_hyperparameters_are_dimensions_of_every_method() -> None:
    spec = mine(space={"method": {"deep": {"layers": [2, 4], "pooling": "mean"}, "wide": {}}})
    deep, wide = (spec.search_space.dimensions(name) for name in ("deep", "wide"))
    assert isinstance(wide["option.temperature"], Uniform)
    assert wide["option.pooling"] == Choice(("mean", "cls"))
    assert deep["option.pooling"].grid() == ("mean",), "a method's own entry wins"
    assert "option.layers" in deep
    assert "option.layers" not in wide


@pytest.mark.parametrize("searcher", ["random", "sobol", "tpe", "gp"])
def test_every_searcher_draws_them(searcher: str) -> None:
    spec = mine(searcher=searcher)
    source = make_searcher(spec, 64, 6)
    configs = [source.propose() for _ in range(6)]
    assert len({trial_fingerprint(config) for config in configs if config}) == 6
    assert {config.method_options["pooling"] for config in configs if config} == {"mean", "cls"}
    assert all(0.01 <= config.method_options["temperature"] <= 1 for config in configs if config)


def test_a_grid_holds_every_combination() -> None:
    spec = mine(searcher="grid", space={"params": {"width": [1, 2, 3], "flag": [True, False]}})
    configs = grid_configs(spec.search_space, 64)
    assert count_configs(spec.search_space) == len(configs) == 2 * 2 * 3 * 2


def test_names_and_mlflow_parameters_show_them() -> None:
    spec = mine()
    config = TrialConfig("own", 8, 1e-3, 64, {"temperature": 0.05, "pooling": "cls"})
    assert trial_name(config, spec.search_space.varied) == "pooling=cls temperature0.05 lr1e-3 ebs8 s0"
    params = config_params(config)
    assert (params["temperature"], params["pooling"]) == (0.05, "cls")
    named = config_params(TrialConfig("deep", 8, 1e-3, 64, {"layers": 2}))
    assert named["deep.layers"] == 2


def test_content_holds_what_defines_the_sweep_and_reads_back(tmp_path: Path) -> None:
    content = mine().content()
    assert content["entrypoint"] == {"function": "script.py:train", "command": [], "inputs": []}
    assert not {"model", "data", "evaluation", "training"} & content.keys()
    assert SweepSpec.model_validate(content).digest == mine().digest
    assert "model" not in resolved(mine())


def test_content_of_built_in_training_is_as_it_was() -> None:
    spec = parse_sweep(
        {
            "name": "a",
            "model": "m",
            "data": {"train": "t"},
            "search_space": {"method": "full", "effective_batch_size": 8},
        }
    )
    assert "entrypoint" not in spec.content()


def test_the_folder_is_that_of_the_sweep_file(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(
        "name: mine\nentrypoint: script.py:train\nsearch_space: {effective_batch_size: 8, learning_rate: 1e-3}\nbudget: {samples: 64}\n"
    )
    assert load_sweep(file).entrypoint.folder == str(file.parent)
    below = load_sweep(file, ["entrypoint.folder=../code"])
    assert below.entrypoint.folder == str(tmp_path / "code")
    assert load_sweep(file).digest == below.digest, "where it lies does not define a sweep"


@pytest.mark.parametrize(
    "entrypoint", ["a.py:train", {"function": "pack.mod:fit"}, {"command": ["python", "a.py", "{seed}"]}]
)
def test_every_form_of_entrypoint_is_accepted(entrypoint: Any) -> None:
    assert mine(entrypoint=entrypoint).entrypoint is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "m"}, "mine.yaml: model: does not apply to a sweep with an entrypoint"),
        ({"data": {"train": "rows.jsonl"}}, "data: does not apply"),
        ({"evaluation": [{"name": "eval"}]}, "evaluation: does not apply"),
        ({"training": {"compile": True}}, "training: does not apply"),
        ({"budget": {"epochs": 2}}, "budget.samples: a sweep with an entrypoint counts its budget in samples"),
        ({"entrypoint": "script.py"}, "entrypoint.function = 'script.py': is FILE.py:FUNCTION"),
        ({"entrypoint": "script.py:2"}, "entrypoint.function = 'script.py:2'"),
        ({"entrypoint": {}}, "entrypoint: names exactly one of function and command"),
        ({"entrypoint": {"function": "a.py:b", "command": ["a"]}}, "names exactly one of function and command"),
        (
            {"entrypoint": {"command": ["run", "{temprature}"]}},
            "entrypoint.command = '{temprature}': trials of method 'own' have no value of this name. Did you mean 'temperature'",
        ),
        (
            {"entrypoint": {"funktion": "a.py:b"}},
            "entrypoint.funktion = 'a.py:b': this key is not known here. Did you mean 'function'",
        ),
        ({"space": {"params": {"seed": [1, 2]}}}, "search_space.params.seed: this name is a field of search_space"),
        ({"space": {"params": {"a b": 1}}}, "a hyperparameter is named with letters"),
        (
            {"space": {"params": {"a": {"uniform": [2, 1]}}}},
            "search_space.params.a = {'uniform': [2, 1]}: a range needs low <= high",
        ),
        ({"space": {"parms": {}}}, "search_space.parms = {}: this key is not known here. Did you mean 'params'"),
        ({"space": {"learning_rate": "auto"}}, "search_space.learning_rate: method 'own' has no default range"),
        ({"space": {"method": {}}}, "name at least one method, or leave it out"),
        ({"space": {"optimizer": 3}}, "optimizer must be text"),
        ({"entrypoint": None}, "search_space.params: free hyperparameters belong to training of your own"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as told:
        mine(**changes)
    assert said in str(told.value)


def test_a_sweep_trains_something() -> None:
    with pytest.raises(SpecError, match=r"model: this field is required\. Or train with code of your own"):
        parse_sweep({"name": "a", "search_space": {"method": "full", "effective_batch_size": 8}})


def test_a_built_in_namesake_lends_its_learning_rates() -> None:
    spec = mine(space={"method": {"lora": {"r": [4, 8]}}, "learning_rate": "auto"})
    assert isinstance(spec.search_space.learning_rate_of("lora"), Uniform)


def test_judged_metrics_are_those_of_objective_and_constraints() -> None:
    objective = {"metric": {"a": 1, "b": -1}, "constraints": [{"metric": "c", "at_most": 1}]}
    assert mine(objective=objective).judged_metrics == ("a", "b", "c")


@given(st.text(), st.text(alphabet="ab{}", max_size=8))
def test_words_without_names_stay_and_braces_can_be_written(value: str, plain: str) -> None:
    escaped = plain.replace("{", "{{").replace("}", "}}")
    assert list(names_in([escaped])) == []
    assert filled([escaped, "--x={name}"], {"name": value}) == [plain, f"--x={value}"]


def test_words_take_values_as_a_shell_would_want_them() -> None:
    config = TrialConfig("own", 8, 1e-5, 60, {"flag": True, "sizes": [1, 2]}, clip_norm=None, warmup_amount=2.0)
    values = trial_values(config, "abc", "/store/own")
    words = [
        "{learning_rate}",
        "{clip_norm}",
        "{flag}",
        "{sizes}",
        "{steps}",
        "{warmup_steps}",
        "{trial_id}",
        "{checkpoint_dir}",
    ]
    assert filled(words, values) == ["1e-05", "null", "true", "[1, 2]", "8", "2", "abc", "/store/own"]
