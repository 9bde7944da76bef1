"""A hyperparameter is one field of `TrialConfig`: its statement there is all that the rest of the package reads."""

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.hyperparameter import Hyperparameter
from orchestrator.records import HYPERPARAMETERS, TrialConfig
from orchestrator.spec.search_space.enumeration import grid_configs, holds
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.dimensions import DIMENSIONS, space_of_config
from orchestrator.spec.trial.identity import trial_name

ROOT = Path(__file__).resolve().parents[2]

configs = st.builds(
    TrialConfig,
    method=st.just("lora"),
    effective_batch_size=st.integers(1, 512),
    learning_rate=st.floats(1e-5, 1e-3),
    samples=st.just(2048),
    method_options=st.fixed_dictionaries({"r": st.integers(1, 64), "target_modules": st.just(["q_proj", "v_proj"])}),
    warmup_unit=st.just("steps"),
    warmup_amount=st.integers(0, 9).map(float),
    beta1=st.floats(0, 0.99),
    epsilon=st.floats(1e-10, 1e-2),
    weight_decay=st.floats(0, 1),
    clip_norm=st.none() | st.floats(0.1, 10),
    data_strategy=st.sampled_from(["stacked", "phased"]),
    seed=st.integers(0, 9),
)


@given(configs, st.sampled_from([("constant", {}), ("wsd", {"decay_share": 0.3}), ("linear", {})]))
def test_the_space_of_a_configuration_holds_it_and_nothing_else(
    config: TrialConfig, schedule: tuple[str, dict[str, float]]
) -> None:
    config = replace(config, schedule=schedule[0], schedule_options=schedule[1])
    space = SearchSpace.model_validate(space_of_config(config))
    assert grid_configs(space, config.samples) == [config]
    assert holds(space, config)
    assert not holds(space, replace(config, epsilon=config.epsilon / 2))


@pytest.mark.parametrize(
    ("stated", "rule", "taken", "refused"),
    [
        (Hyperparameter("", at_least=0, below=1), "a number in [0, 1)", [0, 0.5], [1, -1, "0", None, True]),
        (Hyperparameter("", above=0, null="none"), "a number > 0, or null for none", [None, 1e-9], [0, float("inf")]),
        (Hyperparameter("", whole=True, at_least=1), "a whole number >= 1", [1], [0, 1.0, True]),
        (Hyperparameter("", below=2), "a number < 2", [-3], [2]),
    ],
)
def test_a_statement_is_rule_and_check(
    stated: Hyperparameter, rule: str, taken: list[object], refused: list[object]
) -> None:
    assert stated.rule == rule
    assert all(stated.accepts(value) for value in taken)
    assert not any(stated.accepts(value) for value in refused)


def test_names_keep_their_order() -> None:
    config = TrialConfig("full", 8, 1e-4, 64, weight_decay=0.1, beta1=0.8, epsilon=1e-6, clip_norm=None, beta2=0.99)
    assert trial_name(config, set(DIMENSIONS)) == (
        "full lr1e-4 ebs8 constant warms0 stacked wd0.1 clipNone b1-0.8 b2-0.99 eps1e-6 s0"
    )


def test_every_field_is_in_a_dimension() -> None:
    config = TrialConfig("full", 8, 1e-4, 64)
    covered = {name for dimension in DIMENSIONS.values() for name in dimension.taken(config)}
    assert {field.name for field in fields(TrialConfig)} - covered == {"method", "samples", "method_options"}
    assert covered >= HYPERPARAMETERS.keys()


ADDED = """
import sys, types
from pathlib import Path

place = Path({place!r})
text = place.read_text()
last = "    optimizer_options: Mapping[str, Scalar] = field(default_factory=dict)\\n"
assert text.count(last) == 1
line = "    momentum: float = field(default=0.0, metadata=Hyperparameter('Toy momentum.', at_least=0, below=1, short='mom', argument='toy').metadata)\\n"
module = types.ModuleType("orchestrator.records")
sys.modules["orchestrator.records"] = module
exec(compile(text.replace(last, last + line), str(place), "exec"), module.__dict__)
"""

CHECKS = """
from dataclasses import replace
from orchestrator.coordinating.clones import clone_config
from orchestrator.integrations.arguments import _numbers
from orchestrator.records import TrialConfig
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.schema import sweep_schema
from orchestrator.spec.search_space.enumeration import grid_configs, holds
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.dimensions import DIMENSIONS, space_of_config
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name

plain = TrialConfig("lora", 64, 3e-4, 2048, {"r": 16})
assert trial_fingerprint(plain) == "b539ef673f", "what was recorded before keeps its fingerprint"
assert "momentum" not in plain.as_dict()
toy = replace(plain, momentum=0.9)
assert TrialConfig.from_dict(toy.as_dict()) == toy and trial_fingerprint(toy) != trial_fingerprint(plain)
assert trial_name(toy, {"momentum"}) == "lora r16 lr3e-4 ebs64 mom0.9 s0"
space = SearchSpace.model_validate({"method": "full", "effective_batch_size": 8, "learning_rate": 1e-4, "momentum": [0, 0.5]})
assert [config.momentum for config in grid_configs(space, 64)] == [0.0, 0.5]
assert not holds(space, replace(grid_configs(space, 64)[0], momentum=0.7))
assert SearchSpace.model_validate(space_of_config(toy)).dimensions("lora")["momentum"].value == 0.9
try:
    SearchSpace.model_validate({"method": "full", "effective_batch_size": 8, "momentum": 1})
    raise AssertionError("1 is no momentum")
except ValueError as error:
    assert "momentum must be a number in [0, 1), got 1" in str(error)
assert sweep_schema()["$defs"]["SearchSpace"]["properties"]["momentum"]["description"] == "Toy momentum."
assert DIMENSIONS["momentum"].label(toy) == 0.9
assert _numbers(toy)["toy"] == 0.9
sweep = parse_sweep({"name": "toy", "model": "m", "data": {"train": "d"}, "search_space": {"method": "lora",
    "effective_batch_size": 8}, "budget": {"trials": 2, "samples": 2048}}, "file")
assert clone_config(sweep, toy, ["momentum=0.25"]) == replace(toy, momentum=0.25)
"""


def test_one_more_field_is_all_that_one_more_hyperparameter_takes() -> None:
    script = ADDED.format(place=str(ROOT / "orchestrator" / "records.py")) + CHECKS
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
