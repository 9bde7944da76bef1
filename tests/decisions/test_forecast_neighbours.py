"""Neighbours in learning rate and batch size: within the method, blind to the trial itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.decisions.forecast import neighbours as forecast_neighbours
from orchestrator.decisions.forecast.neighbours import neighbourhood
from orchestrator.decisions.forecast.observation import Observation


def observation(index, rate, batch=16, method="full"):
    return Observation(f"t{index}", method, rate, batch, (1.0,))


def test_mean_is_of_the_neighbours_and_not_of_the_trial_itself():
    trials = [observation(0, 1e-3), observation(1, 1e-3), observation(2, 1.0)]
    mean, lead, *_ = neighbourhood(trials, np.array([0.0, 2.0, 3.0]))
    np.testing.assert_allclose(mean[:2], [2.0, 0.0], atol=1e-6)
    assert mean[2] == 3.0  # six steps away from the others: on its own
    np.testing.assert_allclose(lead, mean - [0.0, 2.0, 3.0])


def test_methods_do_not_mix_and_steps_lead_away_from_the_best():
    trials = [observation(0, 1e-3), observation(1, 9e-3, batch=64), observation(2, 1e-3, method="lora", batch=256)]
    mean, _, best, rates, batches = neighbourhood(trials, np.array([0.0, 1.0, 2.0]))
    assert mean[2] == best[2] == 2.0
    np.testing.assert_allclose(rates, [0.0, 2.0, 0.0])
    np.testing.assert_allclose(batches, [0.0, 1.0, 2.0])


@given(st.lists(st.floats(0, 4), min_size=2, max_size=20), st.integers(1, 7))
def test_rows_are_the_same_however_many_are_taken_at_once(values, at_once):
    trials = [observation(i, 1e-4 * 1.5**i, method="full" if i % 3 else "lora") for i in range(len(values))]
    whole = neighbourhood(trials, np.array(values))
    before, forecast_neighbours.ROWS_AT_ONCE = forecast_neighbours.ROWS_AT_ONCE, at_once
    try:
        parts = neighbourhood(trials, np.array(values))
    finally:
        forecast_neighbours.ROWS_AT_ONCE = before
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
