"""Search space: conditional dimensions, each method's own learning rates, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.spec.methods.catalogue import default_learning_rate_range
from orchestrator.spec.search_space.domains import Choice, Fixed, Uniform
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.dimensions import build_config, read_warmup
from orchestrator.spec.trial.schedules import read_schedule


def space(**values: Any) -> SearchSpace:
    return SearchSpace.model_validate({"method": "full", "effective_batch_size": 8, **values})


def test_dimensions_depend_on_the_method() -> None:
    made = space(method={"full": {}, "lora": {"r": [4, 8]}, "freeze_lower": {"share": 0.5}})
    own = {name: [key for key in made.dimensions(name) if key.startswith("option.")] for name in made.method}
    assert own == {"full": [], "lora": ["option.r"], "freeze_lower": ["option.share"]}


def test_auto_learning_rate_is_each_methods_range() -> None:
    made = space(method=["full", "lora"])
    for method in ("full", "lora"):
        low, high = default_learning_rate_range(method)
        assert made.learning_rate_of(method) == Uniform(low, high, log=True, points=5)


def test_own_learning_rate_wins_over_the_shared_one() -> None:
    made = space(
        method={"full": {"learning_rate": 2e-5}, "lora": {"learning_rate": "auto"}}, learning_rate=[1e-5, 1e-4]
    )
    assert made.learning_rate_of("full") == Fixed(2e-5)
    assert made.learning_rate_of("lora") == Choice((1e-5, 1e-4))


def test_method_short_forms_mean_empty_bodies() -> None:
    assert space(method="full").method == space(method=["full"]).method == space(method={"full": None}).method


def test_build_config_reads_every_dimension() -> None:
    made = space(
        method={"lora": {"r": 4}},
        learning_rate=1e-4,
        schedule={"name": "wsd", "decay_share": 0.3},
        warmup={"ratio": 0.1},
        clip_norm=None,
        weight_decay=0.01,
        seed=3,
        beta1=0.8,
    )
    values = {name: domain.at(0.0) for name, domain in made.dimensions("lora").items()}
    config = build_config("lora", values, 64)
    assert (config.method, config.method_options, config.samples) == ("lora", {"r": 4}, 64)
    assert (config.schedule, config.schedule_options) == ("wsd", {"decay_share": 0.3})
    assert (config.warmup_unit, config.warmup_amount) == ("ratio", 0.1)
    assert (config.clip_norm, config.weight_decay, config.seed, config.beta1) == (None, 0.01, 3, 0.8)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": {}}, "at least one method"),
        ({"method": [3]}, "method lists method names"),
        ({"method": "loar"}, "there is no method of this name. Did you mean 'lora'"),
        ({"method": {"lora": {"rr": 3}}}, "no option of this name"),
        ({"method": {"lora": {"r": [8, "big"]}}}, "lora.r = 'big'"),
        ({"method": {"lora": {"r": {"uniform": [4, 8]}}}}, "lora.r = 5.48"),
        ({"method": {"lora": {"learning_rate": -1}}}, "a number > 0"),
        ({"effective_batch_size": 0}, "whole number >= 1"),
        ({"effective_batch_size": [8, 2.5]}, "whole number >= 1"),
        ({"effective_batch_size": True}, "whole number >= 1"),
        ({"seed": -1}, "whole number >= 0"),
        ({"learning_rate": 0}, "a number > 0, or auto alone"),
        ({"learning_rate": ["auto", 1e-4]}, "a number > 0, or auto alone"),
        ({"learning_rate": "1e-4x"}, "a number > 0, or auto alone"),
        ({"learning_rate": float("inf"), "any_learning_rate": True}, "a number > 0, or auto alone"),
        ({"learning_rate": 50}, "no learning rate for method 'full'"),
        ({"method": {"full": {"learning_rate": 50}}}, "method.full.learning_rate = 50"),
        ({"beta1": 1.0}, r"\[0, 1\)"),
        ({"beta2": "high"}, r"\[0, 1\)"),
        ({"epsilon": 0}, "a number > 0"),
        ({"weight_decay": -0.1}, "a number >= 0"),
        ({"clip_norm": 0}, "null for no clipping"),
        ({"optimizer": "adamv"}, "did you mean 'adamw'"),
        ({"data_strategy": "stacke"}, "did you mean 'stacked'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"schedule": 3}, "a schedule is a name"),
        ({"schedule": {"name": "wsd", "decay_shar": 0.1}}, "did you mean 'decay_share'"),
        ({"schedule": {"name": "constant", "min_ratio": 0.1}}, "takes no options"),
        ({"schedule": {"name": "linear", "min_ratio": 2}}, "must lie in"),
        ({"schedule": {"name": "linear", "min_ratio": "half"}}, "must be a number"),
        ({"warmup": {"ration": 0.1}}, "did you mean 'ratio'"),
        ({"warmup": {"ratio": 1.0}}, "a warm-up is"),
        ({"warmup": {"steps": 2.5}}, "a warm-up is"),
        ({"warmup": {"steps": 2, "ratio": 0.1}}, "a warm-up is"),
        ({"warmup": 5}, "a warm-up is"),
        ({"repeats": 0}, "greater than or equal to 1"),
        ({"batch_size": 8}, "Extra inputs"),
    ],
)
def test_search_space_refuses(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        space(**values)


def test_far_learning_rate_passes_when_asked_for() -> None:
    assert space(learning_rate=50, any_learning_rate=True).learning_rate_of("full") == Fixed(50)


def test_readers_of_schedule_and_warmup() -> None:
    assert read_schedule("cosine") == ("cosine", {})
    assert read_schedule({"name": "cosine", "min_ratio": 0}) == ("cosine", {"min_ratio": 0.0})
    assert read_warmup(0) == ("steps", 0.0)
    assert read_warmup({"samples": 64}) == ("samples", 64.0)
