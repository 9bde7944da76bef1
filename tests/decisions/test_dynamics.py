import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.early_dynamics.features import DebiasedMean, DynamicsTracker, EarlyDynamics, extract
from orchestrator.records import TrainingSignal


def make_signals(batch, samples, loss_at, norm_at=lambda position: 1.0, corrected_at=lambda position: None):
    """Signals whose loss is the mean of ``loss_at`` over the step's samples."""
    signals = []
    for step, first in enumerate(range(0, samples, batch), 1):
        last = min(first + batch, samples)
        positions = np.arange(first, last) + 0.5
        loss = float(np.mean([loss_at(position) for position in positions]))
        middle = (first + last) / 2
        signals.append(
            TrainingSignal(
                step, last, 10 * last, loss, loss, norm_at(middle), 1e-4, 1.0, 1.0, None, corrected_at(middle)
            )
        )
    return signals


@given(
    constant=st.floats(-1e6, 1e6),
    half_life=st.floats(0.1, 1e6),
    weights=st.lists(st.floats(0.01, 1e5), min_size=1, max_size=200),
)
def test_debiased_mean_of_a_constant_is_the_constant_at_every_length(constant, half_life, weights):
    mean = DebiasedMean(half_life)
    for weight in weights:
        mean.update(constant, weight)
        assert mean.value == pytest.approx(constant, rel=1e-9, abs=1e-9)


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=50), half_life=st.floats(0.5, 1000))
def test_debiased_mean_stays_between_the_extremes(values, half_life):
    mean = DebiasedMean(half_life)
    for value in values:
        mean.update(value, 1.0)
    assert min(values) - 1e-9 <= mean.value <= max(values) + 1e-9


@settings(max_examples=30, deadline=None)
@given(loss=st.floats(0.1, 20), norm=st.floats(0.01, 100), batch=st.integers(1, 64), samples=st.integers(1, 600))
def test_extract_of_constant_signals_is_constant_at_every_length(loss, norm, batch, samples):
    found = extract(make_signals(batch, samples, lambda _: loss, lambda _: norm, lambda _: norm), samples, 128)
    for value in (found.loss_start, found.loss_ema, found.loss_mean):
        assert value == pytest.approx(loss)
    assert found.loss_relative == pytest.approx(1)
    assert found.grad_norm_mean == pytest.approx(norm)
    assert found.noise_corrected_grad_norm == pytest.approx(norm)
    assert found.loss_slope is None or abs(found.loss_slope) < 1e-9
    assert found.loss_spikes == found.grad_norm_spikes == 0


@pytest.mark.parametrize("batch", [1, 8, 24, 64])
def test_extract_is_comparable_across_batch_sizes_at_equal_samples(batch):
    found = extract(make_signals(batch, 1024, lambda position: 4 - 0.002 * position), 1024, 256)
    assert found.loss_mean == pytest.approx(4 - 0.002 * (1024 - 128), abs=0.03)
    assert found.covered_samples == pytest.approx(256)
    assert found.loss_slope == pytest.approx(-0.002, rel=0.05)
    assert found.loss_relative < 1


def test_extract_looks_at_the_past_alone():
    calm = make_signals(8, 512, lambda _: 2.0)
    wild = calm[:32] + make_signals(8, 512, lambda _: 50.0)[32:]
    assert extract(calm, 256, 64) == extract(wild, 256, 64)


def test_extract_without_signals_says_so():
    with pytest.raises(ValueError, match="at least one training signal"):
        extract(make_signals(8, 64, lambda _: 2.0), 4, 64)


def test_extract_counts_spikes():
    signals = make_signals(
        4,
        400,
        lambda position: 9.0 if 200 <= position < 204 else 2.0 + 0.01 * math.sin(position),
        lambda position: 30.0 if 300 <= position < 304 else 1.0,
    )
    found = extract(signals, 400, 100)
    assert (found.loss_spikes, found.grad_norm_spikes) == (1, 1)


def test_extract_has_no_noise_corrected_norm_when_most_steps_lack_it():
    signals = make_signals(8, 256, lambda _: 2.0, corrected_at=lambda position: 0.5 if position < 50 else None)
    assert extract(signals, 256, 128).noise_corrected_grad_norm is None
    assert extract(signals, 48, 128).noise_corrected_grad_norm == pytest.approx(0.5)


def test_dynamics_tracker_goes_on_from_its_state_as_if_uninterrupted():
    signals = make_signals(8, 512, lambda position: 4 - 0.004 * position, lambda position: 1 + math.sin(position))
    whole = DynamicsTracker(128)
    whole.update(signals)
    first = DynamicsTracker(128)
    first.update(signals[:32])
    second = DynamicsTracker.from_state(json.loads(json.dumps(first.state_dict())))
    second.update(signals[32:])
    assert second.snapshot() == whole.snapshot()


def test_early_dynamics_survives_json():
    found = extract(make_signals(8, 128, lambda _: 2.0), 128, 64)
    assert EarlyDynamics.from_dict({**json.loads(json.dumps(found.as_dict())), "tracker": {}}) == found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_extract_passes_values_that_are_no_numbers_on_without_warnings(wrong):
    found = extract(make_signals(8, 128, lambda _: wrong, lambda _: wrong, lambda _: 1e200), 128, 64)
    assert not math.isfinite(found.loss_mean)
    assert not math.isfinite(found.grad_norm_mean)
