import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.training.loop.batches import answer_tokens, make_micro_batches, split_by_tokens
from tests.worlds.trial_world import MemoryRows

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=50)


def cost(lengths, parts, overhead):
    return sum(len(part) * max(lengths[i] for i in part) + overhead for part in parts)


@given(LENGTHS, st.integers(1, 300), st.integers(0, 100))
def test_split_is_a_partition_within_the_budget(lengths, budget, overhead):
    parts = split_by_tokens(lengths, budget, overhead)
    assert sorted(np.concatenate(parts)) == list(range(len(lengths)))
    for part in parts:
        longest = max(lengths[i] for i in part)
        assert len(part) == 1 or len(part) * longest <= budget
    assert max(lengths) in [lengths[i] for i in parts[0]]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=7), st.integers(1, 40), st.integers(0, 20))
def test_split_is_the_cheapest_of_all_splits_of_the_sorted_batch(lengths, budget, overhead):
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    found = []
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        parts, current = [], [order[0]]
        for cut, sample in zip(cuts, order[1:], strict=True):
            if cut:
                parts.append(current)
                current = []
            current.append(sample)
        parts.append(current)
        if all(len(p) == 1 or len(p) * lengths[p[-1]] <= budget for p in parts):
            found.append(cost(lengths, parts, overhead))
    assert cost(lengths, split_by_tokens(lengths, budget, overhead), overhead) == min(found)


@pytest.mark.parametrize(("lengths", "budget"), [([], 10), ([3, 0], 10), ([3], 0)])
def test_split_refuses_wrong_values(lengths, budget):
    with pytest.raises(ValueError, match="must be at least"):
        split_by_tokens(lengths, budget)


def test_split_of_a_large_batch_is_fast():
    lengths = np.random.default_rng(0).integers(20, 600, 4096)
    parts = split_by_tokens(lengths, 8192)
    padded = sum(len(part) * int(lengths[part].max()) for part in parts)
    assert padded < 1.02 * lengths.sum()


@given(st.integers(1, 20), st.integers(1, 200))
def test_micro_batches_hold_every_token_once(count, budget):
    rows = MemoryRows(20)
    sample_ids = np.arange(count)
    batches = make_micro_batches(rows, sample_ids, budget, pad_token_id=0)
    assert sum(int(batch.attention_mask.sum()) for batch in batches) == rows.lengths[:count].sum()
    assert sum(answer_tokens(batch) for batch in batches) == sum(int(rows[i][1][1:].sum()) for i in range(count))
    for batch in batches:
        for row, sample in enumerate(batch.sample_ids):
            ids, is_answer = rows[sample]
            assert torch.equal(batch.input_ids[row, : len(ids)], torch.from_numpy(ids).long())
            assert (batch.input_ids[row, len(ids) :] == 0).all()
            assert torch.equal(batch.labels[row] != -100, batch.attention_mask[row].bool() & pad(is_answer, batch))


def pad(mask, batch):
    padded = torch.zeros(batch.input_ids.shape[1], dtype=torch.bool)
    padded[: len(mask)] = torch.from_numpy(mask)
    return padded
