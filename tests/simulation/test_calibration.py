"""Scores of the forecast: right for known cases, and a forecast of sweeps left out is calibrated."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from orchestrator.errors import DataError
from orchestrator.simulation.forecast.calibration import (
    BINS,
    calibrate,
    crps_of_standard_normal,
    own_scores,
    whole_panels,
)
from orchestrator.simulation.forecast.fitting import left_out_models
from orchestrator.simulation.recorded.files import write_recorded
from orchestrator.simulation.replay_files import score_forecast
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep


@given(st.floats(-4, 4))
def test_crps_is_the_integral_of_the_squared_distance_of_the_distributions(error):
    below = quad(lambda x: norm.cdf(x) ** 2, -12, error)[0]
    above = quad(lambda x: (1 - norm.cdf(x)) ** 2, error, 12)[0]
    assert crps_of_standard_normal(np.array([error]))[0] == pytest.approx(below + above, abs=1e-6)


@pytest.fixture(scope="module")
def sweeps():
    return [synthetic_sweep(24, seed) for seed in range(4)]


def test_one_whole_panel_per_milestone_before_the_last(sweeps):
    panels = whole_panels(sweeps[0], "eval/loss")
    assert [lesson.panel.share for lesson in panels] == sorted({lesson.panel.share for lesson in panels})
    assert len(panels) == len(sweeps[0].levels) - 1
    level = sweeps[0].levels[0]
    trial = sweeps[0].trial(panels[0].panel.trial_ids[0])
    assert own_scores(sweeps[0], panels[0])[0] == trial.scores_at(trial.samples_at(level))["eval/loss"]


def test_forecasts_of_sweeps_left_out_are_calibrated_and_better_than_even_odds(sweeps):
    found = calibrate(sweeps, left_out_models(sweeps), ["eval/loss"], left_out=True)
    assert [stage.panels for stage in found.stages] == [4] * len(found.stages)
    assert all(0.7 <= stage.inside_90 <= 1 for stage in found.stages)
    assert all(stage.inside_50 <= stage.inside_90 for stage in found.stages)
    assert found.stages[-1].log_score < found.stages[-1].even_log_score
    assert all(
        stage.value_inside >= 0.8 for stage in found.stages[2:]
    )  # the first two rest on three sweeps' falls alone
    assert found.stages[-1].value_error < found.stages[0].value_error
    assert found.stages[-1].crps < found.stages[0].crps
    assert all(low.said <= high.said for low, high in zip(found.reliability, found.reliability[1:], strict=False))
    assert all(BINS[0] <= each.came <= BINS[-1] for each in found.reliability)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_metric_that_no_sweep_measured_is_refused_with_those_that_are(tmp_path, sweeps):
    file = tmp_path / "one.jsonl"
    write_recorded(sweeps[0], file)
    with pytest.raises(DataError, match="eval/loss"):
        score_forecast([file], metrics=["eval/accuracy"])
