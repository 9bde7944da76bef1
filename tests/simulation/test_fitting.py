"""Fitting the forecast on recorded sweeps: what it learns is measured on sweeps it has not seen."""

import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.decisions.forecast.model import load_model
from orchestrator.decisions.forecast.panel import rank_correlation
from orchestrator.errors import DataError, StorageError
from orchestrator.simulation.forecast.fitting import (
    all_lessons,
    common_metrics,
    fit_forecast,
    left_out_models,
    lessons,
    mode_of,
    observation_at,
)
from orchestrator.simulation.recorded.files import write_recorded
from orchestrator.simulation.replay_files import fit_forecast_files
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep


@pytest.fixture(scope="module")
def sweeps():
    return [synthetic_sweep(30, seed) for seed in range(5)]


def test_common_metrics_are_those_of_every_evaluation(sweeps):
    assert "eval/loss" in common_metrics(sweeps[0])


def test_lessons_hold_whole_cohorts_and_their_better_parts(sweeps):
    found = list(lessons(sweeps[0], "eval/loss"))
    assert {lesson.sweep for lesson in found} == {sweeps[0].name}
    sizes = {len(lesson.targets) for lesson in found}
    assert len(sizes) >= 2
    for lesson in found:
        assert np.isfinite(lesson.panel.features).all()
        assert 0 <= lesson.targets.min() <= lesson.targets.max() <= 4


def test_a_sighting_knows_nothing_of_the_future(sweeps):
    sweep = sweeps[0]
    trial = next(trial for trial in sweep.trials if trial.status == "completed")
    seen = observation_at(trial, sweep.levels, 1, "eval/loss", 1.0)
    assert seen is not None
    assert len(seen.scores) == 2
    assert seen.dynamics["samples_seen"] == trial.samples_at(sweep.levels[1]) < trial.samples


def test_forecasts_of_sweeps_left_out_rank_the_finals_better_than_the_early_score(sweeps):
    models = left_out_models(sweeps)
    gains = []
    for sweep in sweeps:
        assert sweep.name not in models[sweep.name].sweeps
        for lesson in lessons(sweep, "eval/loss"):
            if len(lesson.targets) < 15 or lesson.panel.share > 0.3:
                continue
            early = {t.trial: observation_at(t, sweep.levels, 0, "eval/loss", 1.0) for t in sweep.trials}
            scores = np.array([early[trial_id].scores[-1] for trial_id in lesson.panel.trial_ids])
            forecast = models[sweep.name].mean(lesson.panel)
            gains.append(rank_correlation(forecast, lesson.targets) - rank_correlation(scores, lesson.targets))
    assert np.mean(gains) > 0


def test_errors_on_sweeps_left_out_are_as_large_as_the_forecast_says(sweeps):
    models = left_out_models(sweeps)
    inside = []
    for lesson in all_lessons(sweeps):
        model = models[lesson.sweep]
        mean = model.mean(lesson.panel)
        contenders = mean <= np.median(mean)
        inside += list(np.abs(lesson.targets - mean)[contenders] < 1.645 * model.deviation(lesson.panel))
    assert 0.75 < np.mean(inside) < 0.99


def test_fit_is_deterministic_and_needs_two_sweeps(sweeps):
    taught = all_lessons(sweeps[:3])
    assert fit_forecast(taught) == fit_forecast(taught)
    with pytest.raises(DataError, match="at least two"):
        fit_forecast(all_lessons(sweeps[:1]))


def repeating(sweep, epochs):
    """The sweep, had its trials seen each row so often."""
    return replace(
        sweep, trials=tuple(replace(trial, config={**trial.config, "epochs": epochs}) for trial in sweep.trials)
    )


def test_sweeps_that_repeat_rows_do_not_blur_what_is_known_of_the_others(sweeps):
    once, again = all_lessons(sweeps[:2]), all_lessons([repeating(sweeps[2], 12.0)])
    model = fit_forecast([*once, *again])
    assert model.repeated is not None
    assert replace(model, sweeps=(), repeated=None) == replace(fit_forecast(once), sweeps=())
    assert model.sweeps == tuple(sorted(sweep.name for sweep in sweeps[:3]))
    assert model.valid_for(1.0) is model
    assert model.valid_for(1.5) is model.repeated
    # One sweep that sees its rows once cannot be fitted by itself.
    assert fit_forecast([*all_lessons(sweeps[:1]), *again]).repeated is None


def test_weights_file_of_recorded_files(tmp_path, sweeps):
    files = []
    for sweep in sweeps[:2]:
        files.append(tmp_path / f"{sweep.name}.jsonl.gz")
        write_recorded(sweep, files[-1])
    out = tmp_path / "weights.npz"
    model = fit_forecast_files(files, out)
    assert load_model(out) == model
    assert math.isfinite(sum(model.line) + sum(model.spread))
    with pytest.raises(StorageError, match="cannot be written"):
        fit_forecast_files(files, tmp_path / "no" / "such" / "folder.npz")


def test_metrics_that_are_better_when_higher_are_known_by_name():
    assert mode_of("skills/exact_match") == "max"
    assert mode_of("eval/loss") == "min"
