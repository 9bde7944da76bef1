import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.trial.batch_plan import BatchPlan, milestone_levels, overshoot

SIZES = st.integers(1, 300)


@given(st.integers(1, 5000), SIZES)
def test_batch_plan_steps_sum_to_the_budget_exactly(samples, size):
    size = min(size, samples)
    plan = BatchPlan(samples, size)
    taken = [plan.samples_at(k) - plan.samples_at(k - 1) for k in range(1, plan.steps + 1)]
    assert sum(taken) == samples
    assert all(step == size for step in taken[:-1])
    assert taken[-1] == plan.last_step_size


@given(st.integers(1, 5000), SIZES, st.integers(0, 6000))
def test_batch_plan_step_at_is_the_first_step_that_reaches_a_level(samples, size, level):
    plan = BatchPlan(samples, min(size, samples))
    step = plan.step_at(level)
    assert plan.samples_at(step) >= min(level, samples)
    assert step == 0 or plan.samples_at(step - 1) < level


@pytest.mark.parametrize(
    ("unit", "amount", "expected"),
    [
        ("steps", 0, 0),
        ("steps", 3, 3),
        ("steps", 99, 30),
        ("samples", 64, 2),
        ("samples", 65, 3),
        ("ratio", 0.1, 3),
        ("ratio", 0.11, 4),
    ],
)
def test_batch_plan_warmup_rounds_up_to_whole_steps(unit, amount, expected):
    assert BatchPlan(960, 32, unit, amount).warmup_steps == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "samples must be a whole number of at least 1, got 0"),
        ((10, 0), "effective_batch_size must be"),
        ((10, 11), r"at most the samples of the budget \(10\), got 11"),
        ((10, 2.0), "effective_batch_size must be a whole number"),
        ((10, 2, "weeks", 1), "warmup_unit must be one of steps, samples, ratio, got 'weeks'"),
        ((10, 2, "ratio", 1.5), "at most 1 when warmup_unit is ratio, got 1.5"),
        ((10, 2, "steps", -1), "at least 0, got -1"),
        ((10, 2, "steps", math.nan), "finite"),
    ],
)
def test_batch_plan_refuses_wrong_values_with_value_and_rule(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchPlan(*arguments)


def test_batch_plan_refuses_steps_outside_the_plan():
    with pytest.raises(ValueError, match=r"step must lie in 0\.\.5, got 6"):
        BatchPlan(10, 2).samples_at(6)


def test_milestone_levels_snap_to_where_all_batch_sizes_meet():
    levels = milestone_levels(1000, [0.125, 0.25, 0.5, 1.0], [8, 16, 32])
    assert levels == (128, 256, 512, 1000)
    assert [overshoot(level, 1000, [8, 16, 32]) for level in levels] == [0, 0, 0, 0]


def test_milestone_levels_stay_and_state_the_overshoot_where_snapping_would_move_them_far():
    levels = milestone_levels(1000, [100], [48, 64])
    assert levels == (100, 1000)
    assert overshoot(100, 1000, [48, 64]) == 44


def test_milestone_levels_tell_shares_from_samples():
    assert milestone_levels(50, [1, 1.0, 0.5], [1]) == (1, 25, 50)


@given(
    st.integers(1, 5000),
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6),
    st.lists(SIZES, min_size=1, max_size=4),
)
def test_milestone_levels_rise_to_the_budget_and_move_little(samples, shares, sizes):
    levels = milestone_levels(samples, shares, sizes)
    assert list(levels) == sorted(set(levels))
    assert levels[-1] == samples
    assert levels[0] >= 1
    for share in shares:
        wanted = math.ceil(share * samples - 1e-6)
        assert min(abs(level - wanted) for level in levels) <= 0.1 * wanted + 1e-9


@pytest.mark.parametrize("target", [0, 0.0, -0.5, 1.5, 101, math.nan, math.inf])
def test_milestone_levels_refuse_targets_outside_the_budget(target):
    with pytest.raises(ValueError, match=r"a milestone must be a share in \(0, 1\] or whole samples in 1\.\.100"):
        milestone_levels(100, [target], [4])


def test_rounding_noise_adds_no_warmup_step() -> None:
    assert 0.07 * 100 > 7, "the product that must not be rounded up"
    assert BatchPlan(800, 8, "ratio", 0.07).warmup_steps == 7


def test_a_milestone_moves_to_no_level_beyond_the_budget() -> None:
    assert milestone_levels(98, [95], [50]) == (95, 98)
