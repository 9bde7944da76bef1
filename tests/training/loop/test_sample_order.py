import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.training.data.plans.order import SampleOrder, make_order
from orchestrator.training.data.plans.phased import phase_stages
from tests.worlds.trial_world import MemoryRows


def stacked(rows, seed):
    return make_order("stacked", MemoryRows(rows), rows, seed)


def phased(phases, samples, seed, replay=None):
    return SampleOrder(phase_stages(phases, samples, seed, replay))


@given(st.integers(1, 60), st.integers(0, 5), st.integers(1, 30), st.integers(1, 200))
def test_stacked_order_is_the_same_for_every_batch_size(rows, seed, size, samples):
    order = stacked(rows, seed)
    whole = order.slice(0, samples)
    pieces = [order.slice(start, min(start + size, samples)) for start in range(0, samples, size)]
    assert np.array_equal(np.concatenate(pieces), whole)


@given(st.integers(1, 60), st.integers(0, 5))
def test_stacked_order_sees_every_row_once_per_epoch(rows, seed):
    order = stacked(rows, seed)
    for epoch in range(3):
        assert sorted(order.slice(epoch * rows, (epoch + 1) * rows)) == list(range(rows))
        assert order.epoch((epoch + 1) * rows) == epoch + 1


def test_stacked_order_is_numpys_philox_of_seed_and_epoch():
    expected = np.random.Generator(np.random.Philox(np.random.SeedSequence([7, 1]))).permutation(100)
    assert np.array_equal(stacked(100, 7).slice(100, 200), expected)


def test_stacked_order_differs_between_epochs_and_seeds():
    first = stacked(100, 0).slice(0, 200)
    assert not np.array_equal(first[:100], first[100:])
    assert not np.array_equal(first[:100], stacked(100, 1).slice(0, 100))


def test_phased_order_trains_all_epochs_of_a_phase_before_the_next():
    phases = [np.arange(0, 30), np.arange(30, 40)]
    stream = phased(phases, 80, 0).slice(0, 80)
    assert np.array_equal(np.bincount(stream, minlength=40), np.full(40, 2))
    assert set(stream[:60]) == set(range(30))
    assert set(stream[60:]) == set(range(30, 40))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 120), st.integers(1, 25))
def test_phased_order_shares_any_budget_in_proportion(sizes, samples, size):
    edges = np.cumsum([0, *sizes])
    order = phased([np.arange(a, b) for a, b in itertools.pairwise(edges)], samples, 3)
    stream = order.slice(0, samples)
    counts = [int(((stream >= a) & (stream < b)).sum()) for a, b in itertools.pairwise(edges)]
    assert sum(counts) == samples
    for count, rows in zip(counts, sizes, strict=True):
        assert abs(count - samples * rows / sum(sizes)) < 1
    pieces = [order.slice(start, min(start + size, samples)) for start in range(0, samples, size)]
    assert np.array_equal(np.concatenate(pieces), stream)


def test_make_order_reads_named_phases():
    rows = MemoryRows(10, phases={"first": range(0, 4), "second": range(4, 10)})
    assert set(make_order("phased", rows, 10, 0).slice(0, 4)) == {0, 1, 2, 3}


@pytest.mark.parametrize("strategy", ["phased", "shuffled"])
def test_make_order_refuses_what_it_cannot_do(strategy):
    with pytest.raises(SpecError, match="data_strategy"):
        make_order(strategy, MemoryRows(10), 10, 0)


@pytest.mark.parametrize("phases", [[], [np.arange(3), np.arange(0)]])
def test_phased_order_refuses_empty_phases(phases):
    with pytest.raises(ValueError, match="none empty"):
        phased(phases, 10, 0)
