"""The recorded sweeps that come with the package: readable, as many and as varied as their page says, and what was fitted on."""

from pathlib import Path

import numpy as np

from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS, load_model
from orchestrator.simulation.forecast.fitting import all_lessons, fit_forecast
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.replay_files import recorded_files
from orchestrator.spec.loading import load_sweep

ROOT = Path(__file__).parents[2]


def test_shipped_sweeps_are_small_varied_and_documented() -> None:
    files = recorded_files(["shipped"])
    assert sum(file.stat().st_size for file in files) < 20e6
    sweeps = read_recorded(files)
    assert len(sweeps) >= 10
    assert all(len(sweep.trials) >= 24 for sweep in sweeps)
    page = (ROOT / "docs" / "recorded-sweeps.md").read_text()
    for sweep in sweeps:
        assert f"| `{sweep.name}` |" in page
        assert f"| {len(sweep.trials)} |" in page.partition(f"| `{sweep.name}` |")[2].partition("\n")[0]
        assert load_sweep(ROOT / "search_spaces" / "recorded" / f"{sweep.name}.yaml").name == sweep.name
    repeated = [s for s in sweeps if len({trial.config["seed"] for trial in s.trials}) > 1]
    assert len(repeated) >= 3
    batches = {trial.config["effective_batch_size"] for sweep in sweeps for trial in sweep.trials}
    assert min(batches) <= 8
    assert max(batches) >= 512


def test_shipped_weights_are_those_fitted_on_the_shipped_sweeps() -> None:
    taught = all_lessons(read_recorded(recorded_files(["shipped"])))
    shipped, fitted = load_model(SHIPPED_WEIGHTS), fit_forecast(taught)
    assert shipped.sweeps == fitted.sweeps
    for epochs in (1.0, 12.0):
        there, here = shipped.valid_for(epochs), fitted.valid_for(epochs)
        np.testing.assert_allclose(here.line, there.line, atol=1e-6)
    # Trees may differ in a branch where another processor rounds otherwise, so what the weights say is compared.
    apart = [np.abs(shipped.mean(lesson.panel) - fitted.mean(lesson.panel)).mean() for lesson in taught]
    wider = [np.log(fitted.deviation(lesson.panel) / shipped.deviation(lesson.panel)) for lesson in taught]
    assert np.mean(apart) < 0.01
    assert np.mean(np.abs(wider)) < 0.02
    assert np.max(np.abs(wider)) < 0.1
