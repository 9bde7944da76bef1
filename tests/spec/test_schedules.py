import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.trial.schedules import SCHEDULES, check_schedule, multiplier


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
