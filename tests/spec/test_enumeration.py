"""From a space to configurations: the grid, its size, and the image of the unit cube."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec.search_space.enumeration import config_at, count_configs, cube_dimensions, grid_configs
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.identity import trial_fingerprint

FINITE: dict[str, Any] = {
    "method": {
        "full": {"learning_rate": [1e-5, 1e-4]},
        "lora": {"learning_rate": [1e-4, 1e-3, 1e-2], "r": {"integer": [4, 16], "step": 4}},
    },
    "effective_batch_size": [8, 16],
    "warmup": [0, {"ratio": 0.1}],
    "weight_decay": {"uniform": [0, 0.1], "quantum": 0.05},
}
CONTINUOUS: dict[str, Any] = {
    "method": {
        "full": {},
        "lora": {"r": [4, 8], "lora_dropout": {"uniform": [0, 0.2]}},
        "freeze_lower": {"share": 0.5},
    },
    "effective_batch_size": {"integer": [4, 64], "step": 4},
    "schedule": ["constant", {"name": "linear", "min_ratio": 0.1}],
}


def test_grid_has_the_product_of_all_dimensions() -> None:
    space = SearchSpace.model_validate(FINITE)
    configs = grid_configs(space, 64)
    assert len(configs) == 2 * 2 * 2 * 3 + 3 * 4 * 2 * 2 * 3 == count_configs(space)
    assert len({trial_fingerprint(config) for config in configs}) == len(configs)
    assert {config.method for config in configs} == {"full", "lora"}


def test_repeats_come_after_all_first_ones_with_the_next_seed() -> None:
    once = SearchSpace.model_validate({**FINITE, "seed": 5})
    thrice = SearchSpace.model_validate({**FINITE, "seed": 5, "repeats": 3})
    configs = grid_configs(thrice, 64)
    assert len(configs) == 3 * len(grid_configs(once, 64)) == count_configs(thrice)
    assert [config.seed for config in configs] == sorted(config.seed for config in configs)
    assert {config.seed for config in configs} == {5, 6, 7}


def test_continuous_range_has_no_grid_and_says_where() -> None:
    space = SearchSpace.model_validate(CONTINUOUS)
    assert count_configs(space) is None
    with pytest.raises(SpecError) as caught:
        grid_configs(space, 64, "sweep.yaml")
    error = caught.value
    assert (error.where, error.field) == ("sweep.yaml", "search_space.lora_dropout")
    assert error.value == {"uniform": [0.0, 0.2]}
    assert "finite domains" in error.rule
    assert "add points" in error.mend


@given(st.data())
def test_every_point_of_the_cube_is_a_configuration_of_the_space(data: st.DataObject) -> None:
    space = SearchSpace.model_validate(CONTINUOUS)
    point = data.draw(st.lists(st.floats(0, 1), min_size=cube_dimensions(space), max_size=9))
    config = config_at(space, point, 64)
    dimensions = space.dimensions(config.method)
    assert dimensions["effective_batch_size"].contains(config.effective_batch_size)
    assert dimensions["learning_rate"].contains(config.learning_rate)
    options = {key.removeprefix("option."): domain for key, domain in dimensions.items() if key.startswith("option.")}
    assert options.keys() == config.method_options.keys()
    assert all(domain.contains(config.method_options[key]) for key, domain in options.items())


def test_first_coordinate_reaches_every_method() -> None:
    space = SearchSpace.model_validate(CONTINUOUS)
    rest = [0.5] * (cube_dimensions(space) - 1)
    assert {config_at(space, [unit / 9, *rest], 64).method for unit in range(10)} == set(space.method)


def test_too_short_a_point_is_refused() -> None:
    space = SearchSpace.model_validate(CONTINUOUS)
    with pytest.raises(ValueError, match="coordinates, got 1"):
        config_at(space, [0.5], 64)
