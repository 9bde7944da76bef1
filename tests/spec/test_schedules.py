from dataclasses import dataclass, field

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.coordinating.continued_trials import inexact
from orchestrator.settings.data import about
from orchestrator.spec.search_space.enumeration import grid_configs
from orchestrator.spec.search_space.search_space import SearchSpace
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name
from orchestrator.spec.trial.options import options_of
from orchestrator.spec.trial.schedules import (
    SCHEDULES,
    Schedule,
    check_schedule,
    find_schedule,
    multiplier,
    schedule_values,
)


def theirs(make, steps, **arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer, **arguments)
    factors = []
    for _ in range(steps):
        factors.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return factors


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize(
    ("name", "options", "make", "arguments"),
    [
        ("constant", {}, transformers.get_constant_schedule_with_warmup, {}),
        ("linear", {}, transformers.get_linear_schedule_with_warmup, {"num_training_steps": 40}),
        ("cosine", {}, transformers.get_cosine_schedule_with_warmup, {"num_training_steps": 40}),
        (
            "cosine",
            {"min_ratio": 0.1},
            transformers.get_cosine_with_min_lr_schedule_with_warmup,
            {"num_training_steps": 40, "min_lr_rate": 0.1},
        ),
        (
            "wsd",
            {"decay_share": 0.25},
            transformers.get_wsd_schedule,
            {"num_training_steps": 40, "num_decay_steps": 10, "decay_type": "linear"},
        ),
        (
            "wsd",
            {"decay_share": 0.25, "decay_power": 0.5},
            transformers.get_wsd_schedule,
            {"num_training_steps": 40, "num_decay_steps": 10, "decay_type": "1-sqrt"},
        ),
    ],
)
def test_multiplier_equals_transformers(name, options, make, arguments, warmup):
    expected = theirs(make, 40, num_warmup_steps=warmup, **arguments)
    assert [multiplier(name, step, 40, warmup, options) for step in range(40)] == pytest.approx(expected, abs=1e-12)


def test_multiplier_of_wsd_with_min_ratio_equals_transformers_after_the_warmup():
    # transformers warms up from the minimum here, ours from 0 as under every other schedule.
    arguments = {"num_training_steps": 40, "num_decay_steps": 10, "decay_type": "linear", "min_lr_ratio": 0.2}
    expected = theirs(transformers.get_wsd_schedule, 40, num_warmup_steps=5, **arguments)
    options = {"decay_share": 0.25, "min_ratio": 0.2}
    assert [multiplier("wsd", step, 40, 5, options) for step in range(5, 40)] == pytest.approx(expected[5:])


@given(st.sampled_from(list(SCHEDULES)), st.integers(1, 200), st.data())
def test_multiplier_stays_between_zero_and_one(name, steps, data):
    warmup = data.draw(st.integers(0, steps))
    step = data.draw(st.integers(0, steps + 3))
    assert 0.0 <= multiplier(name, step, steps, warmup) <= 1.0


@pytest.mark.parametrize("name", ["linear", "cosine", "wsd"])
def test_multiplier_ends_at_min_ratio(name):
    assert multiplier(name, 50, 50, 5, {"min_ratio": 0.3}) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosin", {}, "schedule must be one of constant, linear, cosine, wsd, got 'cosin'"),
        ("constant", {"min_ratio": 0.1}, "takes no options, got 'min_ratio'"),
        ("linear", {"min_ratio": 2}, r"min_ratio of schedule 'linear' must lie in 0.0\.\.1.0, got 2"),
        ("wsd", {"decay_share": "half"}, "got 'half'"),
    ],
)
def test_check_schedule_states_value_and_rule(name, options, message):
    with pytest.raises(ValueError, match=message):
        check_schedule(name, options)


def test_multiplier_refuses_negative_steps():
    with pytest.raises(ValueError, match="step must be at least 0, got -1"):
        multiplier("constant", -1, 10, 0)


@dataclass(frozen=True)
class StairOptions:
    stairs: float = field(default=2.0, metadata=about("Number of stairs.", ge=1.0, le=8.0))


def stairs(step, steps, warmup_steps, options):
    return 1.0 - (step * int(options["stairs"]) // steps) / options["stairs"]


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "stairs", Schedule(stairs, "falls in stairs", options_of(StairOptions)))
    return "stairs"


def searched(schedule):
    return SearchSpace.model_validate(
        {"method": "full", "effective_batch_size": 8, "learning_rate": 0.01, "schedule": schedule}
    )


def test_a_schedule_of_one_entry_is_searched_named_and_followed(toy):
    found = grid_configs(searched(["constant", {"name": toy, "stairs": 4}]), 64)
    assert [(each.schedule, each.schedule_options) for each in found] == [("constant", {}), (toy, {"stairs": 4.0})]
    assert len({trial_fingerprint(each) for each in found}) == 2
    assert trial_name(found[1], {"schedule"}) == "full lr0.01 ebs8 stairs s0"
    assert [multiplier(toy, step, 8, 0, {"stairs": 4}) for step in (0, 2, 7)] == [1.0, 0.75, 0.25]
    assert "its learning rate followed the schedule stairs" in inexact(found[1], 128)
    assert find_schedule(toy).arguments(8, 0, schedule_values(toy, {})) is None


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("stair", "there is no schedule 'stair'; did you mean 'stairs'"),
        ({"name": "stairs", "stair": 2}, "schedule 'stairs' has no option 'stair'; did you mean 'stairs'"),
        ({"name": "stairs", "stairs": 9}, r"stairs of schedule 'stairs' must lie in 1.0\.\.8.0, got 9"),
    ],
)
def test_an_added_schedule_is_checked(toy, schedule, said):
    with pytest.raises(ValueError, match=said):
        searched(schedule)
