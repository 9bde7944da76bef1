"""Thinning keeps spikes, stays below the limit, and does not depend on what came before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.tracking.series import COARSE_POINTS_LIMIT, POINTS_LIMIT, bin_width, signal_series

NOW_MS = 1_700_000_000_000


def test_series_short_is_kept_whole(make_signals: Callable) -> None:
    series = signal_series(make_signals(1, 100), NOW_MS, 1_600, 16)
    assert all(len(columns[0]) == 100 for columns in series.values())
    assert series["train/loss"][1][-1] == NOW_MS
    assert series["train/loss"][1][0] == NOW_MS - 990


def test_series_leaves_out_what_nobody_knows(make_signals: Callable) -> None:
    signals = [replace(signal, noise_scale=None) for signal in make_signals(1, 3)]
    series = signal_series(signals, NOW_MS, 48, 16)
    assert "train/noise_scale" not in series
    assert "train/total_loss" not in series
    signals[1] = replace(signals[1], total_loss=9.0, noise_scale=4.0)
    series = signal_series(signals, NOW_MS, 48, 16)
    assert series["train/noise_scale"][0] == [32]
    assert len(series["train/total_loss"][0]) == 3


def test_series_long_in_milestones_stays_below_the_limit_with_all_spikes(make_signals: Callable) -> None:
    steps, milestones, batch = 20_000, 40, 16
    spikes = {5003: 50.0, 5004: -50.0, 12_345: math.nan, 19_999: 70.0}
    signals = [replace(signal, loss=spikes.get(signal.step, signal.loss)) for signal in make_signals(1, steps, batch)]
    rows: dict[int, float] = {}
    chunk = steps // milestones
    for first in range(0, steps, chunk):
        columns = signal_series(signals[first : first + chunk], NOW_MS, steps * batch, batch)["train/loss"]
        rows.update(zip(columns[0], columns[2], strict=True))
    assert len(rows) <= POINTS_LIMIT
    assert len(rows) > POINTS_LIMIT // 2
    assert {step: repr(rows.get(step * batch)) for step in spikes} == {s: repr(v) for s, v in spikes.items()}
    assert steps * batch in rows


def test_learning_rate_and_throughput_are_told_by_fewer_points(make_signals: Callable) -> None:
    series = signal_series(make_signals(1, 300, 16), NOW_MS, 300 * 16, 16)
    assert len(series["train/loss"][0]) == 300
    for key in ("train/learning_rate", "train/tokens_per_second"):
        assert len(series[key][0]) <= COARSE_POINTS_LIMIT
        assert series[key][0][-1] == 300 * 16


@settings(max_examples=60, deadline=None)
@given(
    losses=st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=300),
    total_steps=st.integers(POINTS_LIMIT + 1, 10**7),
)
def test_series_thinned_keeps_lowest_highest_and_last(losses: list[float], total_steps: int) -> None:
    from orchestrator.records import TrainingSignal

    signals = [
        TrainingSignal(k, k * 8, k, loss, loss, 1.0, 1e-3, 1.0, k * 0.1) for k, loss in enumerate(losses, start=1)
    ]
    steps, times, values = signal_series(signals, NOW_MS, total_steps * 8, 8)["train/loss"]
    assert steps == sorted(set(steps))
    assert len(times) == len(values) == len(steps)
    assert steps[-1] == len(losses) * 8
    finite = [loss for loss in losses if not math.isnan(loss)]
    if finite:
        kept = [value for value in values if not math.isnan(value)]
        assert min(kept) == min(finite)
        if len(finite) == len(losses):
            assert max(kept) == max(finite)
    assert any(map(math.isnan, values)) == (len(finite) < len(losses))
    bins = {
        int(step / bin_width(total_steps * 8, 8, POINTS_LIMIT)) for step in (k * 8 for k in range(1, len(losses) + 1))
    }
    assert len(steps) <= 2 * len(bins) + 1
