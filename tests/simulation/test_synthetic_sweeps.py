"""Synthetic sweeps have what they are made for: crossing curves, plateaus, divergence, and noise of the asked size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.simulation.recorded.files import write_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial
from orchestrator.simulation.synthetic.settings import REFERENCE_BATCH, SyntheticSettings
from orchestrator.simulation.synthetic.sweeps import GENERAL, LOSS, synthetic_sweep

QUIET = SyntheticSettings(
    repeat_noise=0, evaluation_noise=0, step_noise=0, gradient_noise=0, general_noise=0, spread=0, plateau_share=0
)
"""No noise, no plateaus."""


def finals(sweep: RecordedSweep, metric: str = LOSS) -> np.ndarray:
    return np.array([trial.final[metric] for trial in sweep.trials if trial.final])


def best_rate(trial: RecordedTrial, kind: SyntheticSettings) -> float:
    """Return the best learning rate at the trial's batch size."""
    relative_batch = trial.config["effective_batch_size"] / REFERENCE_BATCH
    return kind.methods[trial.config["method"]] * float(relative_batch**kind.batch_exponent)


def repeat_deviation(sweep: RecordedSweep, metric: str) -> float:
    """Return the pooled standard deviation of final values between trials of one configuration."""
    groups: dict[int, list[float]] = {}
    for trial in sweep.trials:
        if trial.final:
            groups.setdefault(trial.config["configuration"], []).append(trial.final[metric])
    return float(np.sqrt(np.mean([np.var(values, ddof=1) for values in groups.values() if len(values) > 1])))


def test_same_seed_same_sweep_other_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        sweep = replace(synthetic_sweep(40, seed), name="same")
        write_recorded(sweep, tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_small_batches_lead_early_and_large_ones_overtake() -> None:
    kind = replace(QUIET, methods={"full": 1e-4}, effective_batch_sizes=(8, 128), learning_rate_factor=1.001)
    sweep = synthetic_sweep(40, 0, kind)
    first, last = sweep.levels[0], sweep.levels[-1]
    small, large = (
        [trial for trial in sweep.trials if trial.config["effective_batch_size"] == size] for size in (8, 128)
    )
    for level, leads, follows in ((first, small, large), (last, large, small)):
        worst = max(trial.scores_at(level)[LOSS] for trial in leads)
        best = min(trial.scores_at(level)[LOSS] for trial in follows)
        assert worst < best, f"at {level} samples"


def test_default_sweep_has_an_inner_optimum_and_early_scores_mislead() -> None:
    sweep = synthetic_sweep(2000, 0)
    done = [trial for trial in sweep.trials if trial.status == "completed"]
    best = sorted(done, key=lambda trial: trial.final[LOSS])[:20]
    kind = SyntheticSettings()
    offsets = [abs(np.log(trial.config["learning_rate"] / best_rate(trial, kind))) for trial in best]
    assert max(offsets) < 0.7 * np.log(kind.learning_rate_factor)
    early = sorted(done, key=lambda trial: trial.scores_at(sweep.levels[0])[LOSS])
    assert len({trial.trial for trial in early[:20]} & {trial.trial for trial in best}) < 5
    late = sorted(done, key=lambda trial: trial.scores_at(sweep.levels[-2])[LOSS])
    assert len({trial.trial for trial in late[:20]} & {trial.trial for trial in best}) >= 10


def test_trials_diverge_above_the_rate_and_only_there() -> None:
    kind = replace(SyntheticSettings(), divergence_factor=4.0)
    sweep = synthetic_sweep(400, 0, kind)
    for trial in sweep.trials:
        beyond = trial.config["learning_rate"] > kind.divergence_factor * best_rate(trial, kind)
        assert trial.status == ("diverged" if beyond else "completed")
        assert bool(trial.final) is not beyond
        assert np.isnan(trial.signals[-1, 1]) == beyond
        assert np.isfinite(trial.signals[:-1]).all()
        if beyond:
            assert trial.samples_trained < trial.samples
            assert all(samples < trial.samples_trained for samples, _ in trial.evals)
    shares = [trial.samples_trained / trial.samples for trial in sweep.trials if trial.status == "diverged"]
    assert len(shares) > 20
    assert min(shares) < 0.1 < 0.3 < max(shares)


@pytest.mark.parametrize(
    ("noise", "metric"), [("repeat_noise", LOSS), ("evaluation_noise", LOSS), ("general_noise", GENERAL)]
)
def test_noise_between_repeats_has_the_asked_size(noise: str, metric: str) -> None:
    changes: dict[str, Any] = {noise: 0.02}
    sweep = synthetic_sweep(4000, 0, replace(QUIET, repeats=8, **changes))
    assert repeat_deviation(sweep, metric) == pytest.approx(0.02, rel=0.05)
    assert repeat_deviation(synthetic_sweep(80, 0, replace(QUIET, repeats=8)), metric) == pytest.approx(0, abs=1e-12)


def test_step_noise_falls_with_the_root_of_the_batch_size() -> None:
    kind = replace(QUIET, repeats=40, step_noise=0.1)
    noisy, quiet = synthetic_sweep(2000, 0, kind), synthetic_sweep(2000, 0, replace(kind, step_noise=0))
    for batch in kind.effective_batch_sizes:
        noise = [
            a.signals[:-1, 1] - b.signals[:-1, 1]
            for a, b in zip(noisy.trials, quiet.trials, strict=True)
            if a.config["effective_batch_size"] == batch
        ]
        assert np.std(np.concatenate(noise)) == pytest.approx(0.1 * np.sqrt(32 / batch), rel=0.05)


def test_gradient_norm_explains_the_fall_of_the_loss() -> None:
    """To first order a step lowers the loss by learning rate times the squared gradient norm."""
    kind = replace(QUIET, samples=4096, signals=512, effective_batch_sizes=(8, 32))
    for trial in synthetic_sweep(40, 0, kind).trials:
        if trial.status == "completed":
            loss, own, rate = trial.signals[:, 1], trial.signals[:, 4], trial.signals[0, 3]
            half = len(loss) // 2  # the curve is steep at its beginning, where first order says little
            assert rate * np.sum(own[half:-1] ** 2) == pytest.approx(loss[half] - loss[-1], rel=0.15)


def test_noise_of_a_batch_adds_to_the_square_of_its_gradient_norm() -> None:
    sweep = synthetic_sweep(2000, 0, replace(QUIET, gradient_noise=40.0))
    for batch in (8, 128):
        trials = [t for t in sweep.trials if t.config["effective_batch_size"] == batch and t.status == "completed"]
        ends = np.array([trial.signals[-1] for trial in trials])
        # Where the gradient itself has become small, nothing but the noise is left.
        small = ends[:, 4] < 1.0
        assert small.sum() > 20
        assert np.median(ends[small, 2]) == pytest.approx(40 / np.sqrt(batch), rel=0.05)


def test_general_loss_rises_with_the_distance_travelled() -> None:
    kind = replace(QUIET, methods={"full": 1e-4}, effective_batch_sizes=(32,))
    done = [trial for trial in synthetic_sweep(100, 0, kind).trials if trial.status == "completed"]
    for trial in done:
        values = [scores[GENERAL] for _, scores in trial.evals]
        assert values == sorted(values)
        assert values[0] > kind.general_loss
    by_rate = sorted(done, key=lambda trial: trial.config["learning_rate"])
    ends = [trial.final[GENERAL] for trial in by_rate]
    assert ends == sorted(ends)


def test_plateaus_hold_a_trial_up() -> None:
    kind = replace(QUIET, effective_batch_sizes=(16, 32))
    smooth, held = (synthetic_sweep(60, 0, replace(kind, plateau_share=share)) for share in (0.0, 1.0))
    for one, other in zip(smooth.trials, held.trials, strict=True):
        assert one.config == other.config
        if one.status == "completed":
            assert other.final[LOSS] > one.final[LOSS]
            # A loss that falls as a power law falls ever slower; after a plateau it falls faster again.
            assert max(quickening(one)) < 1
            assert max(quickening(other)) > 3


def quickening(trial: RecordedTrial) -> np.ndarray:
    """Return by which factor the loss falls faster than in the step before."""
    paces = np.diff(trial.signals[:, 1]) / np.diff(trial.signals[:, 0])
    return np.asarray(paces[1:] / paces[:-1])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"methods": {}}, "methods"),
        ({"methods": {"full": 0.0}}, "methods"),
        ({"effective_batch_sizes": ()}, "effective_batch_sizes"),
        ({"effective_batch_sizes": (0, 8)}, "effective_batch_sizes"),
        ({"samples": 64}, "effective_batch_sizes"),
        ({"levels": (0.5, 0.25, 1.0)}, "levels"),
        ({"levels": (0.5,)}, "levels"),
        ({"levels": ()}, "levels"),
        ({"signals": 4}, "signals"),
        ({"repeats": 0}, "repeats"),
        ({"step_noise": -0.1}, "step_noise"),
        ({"plateau_share": 1.5}, "plateau_share"),
        ({"plateau_length": 1.0}, "plateau_length"),
        ({"start_loss": 0.5}, "start_loss"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} must be"):
        SyntheticSettings(**changes)


def test_one_trial_is_no_sweep() -> None:
    with pytest.raises(ValueError, match="at least two trials, got 1"):
        synthetic_sweep(1, 0)


@settings(max_examples=50, deadline=None)
@given(
    trials=st.integers(2, 12),
    seed=st.integers(0, 2**32),
    samples=st.integers(32, 5000),
    signals=st.integers(3, 60),
    sizes=st.lists(st.integers(1, 32), min_size=1, max_size=4, unique=True),
    repeats=st.integers(1, 3),
)
def test_any_sweep_keeps_the_contract(
    trials: int, seed: int, samples: int, signals: int, sizes: list[int], repeats: int
) -> None:
    kind = SyntheticSettings(
        samples=samples, signals=signals, effective_batch_sizes=tuple(sizes), repeats=repeats, levels=(0.1, 0.4, 1.0)
    )
    sweep = synthetic_sweep(trials, seed, kind)
    assert len(sweep.trials) == trials
    for trial in sweep.trials:
        steps, size = trial.signals[:, 0], trial.config["effective_batch_size"]
        assert 1 <= len(steps) <= signals
        assert (np.diff(steps) > 0).all()
        assert all(step % size == 0 or step == samples for step in steps)
        assert {place for place, _ in trial.evals} <= set(steps)
        if trial.status == "completed":
            assert steps[-1] == samples == trial.evals[-1][0]
            assert dict(trial.evals[-1][1]) == dict(trial.final)


def test_ten_thousand_trials_of_the_asked_shape() -> None:
    sweep = synthetic_sweep(10_000, 0)
    done = [trial for trial in sweep.trials if trial.status == "completed"]
    assert len(sweep.trials) == 10_000 > len(done) > 8000
    assert {len(trial.evals) for trial in done} == {8}
    assert {len(trial.signals) for trial in sweep.trials if trial.config["effective_batch_size"] < 128} >= {31}
    assert sum(trial.signals.nbytes for trial in sweep.trials) < 20 * 2**20
