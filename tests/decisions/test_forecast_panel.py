"""Panels: the same picture whatever the metric's unit and offset, and nothing from the future."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.forecast.observation import Observation
from orchestrator.decisions.forecast.panel import (
    FEATURES,
    centre_and_unit,
    make_panel,
    normal_scores,
    rank_correlation,
    relative,
)

BUDGET = 1024


def observation(index, scores, *, rate=1e-3, batch=16, method="full", loss=2.0):
    dynamics = {"loss_mean": loss, "grad_norm_mean": 1.0 + index, "noise_corrected_grad_norm": None}
    return Observation(f"t{index:03d}", method, rate, batch, tuple(scores), dynamics)


def crowd(finals, earlier=None):
    earlier = earlier or [value + 1.0 for value in finals]
    return [
        observation(i, (before, now), rate=1e-4 * (i + 1), loss=now)
        for i, (before, now) in enumerate(zip(earlier, finals, strict=True))
    ]


score_lists = st.lists(st.floats(-50, 50), min_size=3, max_size=30, unique_by=lambda value: round(value, 3))


@settings(deadline=None)
@given(score_lists, st.floats(0.01, 100), st.floats(-1000, 1000))
def test_unit_and_offset_of_the_objective_do_not_matter(finals, scale, offset):
    plain = make_panel(crowd(finals), (32, 64), BUDGET)
    moved = [
        observation(i, (scale * (value + 1.0) + offset, scale * value + offset), rate=1e-4 * (i + 1), loss=value)
        for i, value in enumerate(finals)
    ]
    np.testing.assert_allclose(make_panel(moved, (32, 64), BUDGET).features, plain.features, atol=1e-5)


def test_a_steeper_curve_is_expected_to_end_lower():
    steep, flat = observation(0, (5.0, 3.0)), observation(1, (3.2, 3.0))
    worse = [observation(2 + k, (6.0 + k, 5.0 + k)) for k in range(3)]
    panel = make_panel([steep, flat, *worse], (32, 64), BUDGET)
    column = FEATURES.index("extrapolated")
    assert panel.features[0, column] < panel.features[1, column]


def test_learning_rates_are_compared_within_their_method():
    low = [observation(i, (2.0, 1.0 + i), rate=1e-4 * (i + 1)) for i in range(3)]
    high = [observation(3 + i, (2.0, 1.0 + i), rate=1e-1 * (i + 1), method="lora") for i in range(3)]
    rates = make_panel([*low, *high], (32, 64), BUDGET).features[:, FEATURES.index("learning_rate")]
    np.testing.assert_allclose(rates[:3], rates[3:])


def test_first_milestone_has_no_slope_and_no_unrest():
    panel = make_panel([observation(i, (1.0 + i,)) for i in range(4)], (32,), BUDGET)
    assert panel.unrest is None
    assert not panel.features[:, FEATURES.index("progress")].any()
    assert panel.share == 32 / BUDGET


def test_unrest_is_nothing_where_the_picture_stays_and_grows_with_overtaking():
    still = make_panel(crowd([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]), (32, 64), BUDGET)
    turned = make_panel(crowd([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]), (32, 64), BUDGET)
    assert still.unrest == 0
    assert turned.unrest > 0.5


def test_alignment_says_whether_the_objective_follows_the_training_loss():
    learned = make_panel(crowd([1.0, 2.0, 3.0, 4.0]), (32, 64), BUDGET)
    kept = make_panel([observation(i, (1.0, 1.0 + i), loss=9.0 - i) for i in range(4)], (32, 64), BUDGET)
    assert learned.alignment == pytest.approx(1)
    assert kept.alignment == pytest.approx(-1)


def test_pace_is_the_fall_of_the_leaders_per_doubling_and_never_a_rise():
    falling = make_panel([observation(i, (9.0 + i, 6.0 + i)) for i in range(4)], (32, 128), BUDGET)
    assert falling.pace == pytest.approx(1.5)
    assert falling.lowest == 6.0
    assert falling.positive
    rising = make_panel([observation(i, (-1.0, -0.2 + 0.01 * i)) for i in range(4)], (32, 64), BUDGET)
    assert rising.pace == 0
    assert not rising.positive
    assert make_panel([observation(i, (1.0 + i,)) for i in range(4)], (32,), BUDGET).pace is None


@given(score_lists)
def test_relative_puts_the_best_at_0_and_the_median_at_asinh_1(values):
    array = np.array(values)
    moved = relative(array, *centre_and_unit(array))
    assert moved.min() == 0
    assert np.median(moved) == pytest.approx(math.asinh(1), abs=0.3)
    assert (np.argsort(moved, kind="stable") == np.argsort(array, kind="stable")).all()


def test_equal_scores_make_no_difference():
    panel = make_panel([observation(i, (1.0, 1.0)) for i in range(5)], (32, 64), BUDGET)
    assert np.isfinite(panel.features).all()
    assert not panel.features[:, FEATURES.index("extrapolated")].any()


def test_normal_scores_share_ties_and_give_unknown_values_the_middle():
    scores = normal_scores(np.array([1.0, 1.0, 5.0, math.nan, 0.0]))
    assert scores[0] == scores[1]
    assert scores[3] == 0
    assert scores[4] < scores[0] < scores[2]
    assert not normal_scores(np.array([math.nan, 2.0])).any()


def test_rank_correlation_needs_four_pairs():
    assert rank_correlation(np.arange(3.0), np.arange(3.0)) == 0
    assert rank_correlation(np.arange(4.0), -(np.arange(4.0) ** 3)) == pytest.approx(-1)
