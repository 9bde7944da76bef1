"""Beliefs, similarity and what a sweep tells of its best value: properties that hold whatever the numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting.recommendation.beliefs import Belief, Observation, Situation, similarity, update
from orchestrator.reporting.recommendation.evidence import PastTrial, locate

HERE = Situation("m", "llama", 1_000_000, "d#train", "full", "weights", 1000, "loss")

situations = st.builds(
    Situation,
    model=st.sampled_from(["m", "n", "o"]),
    family=st.sampled_from(["llama", "qwen3"]),
    parameters=st.integers(10_000, 10**11),
    data=st.sampled_from(["d#train", "d?rows=5#train", "e#train"]),
    method=st.sampled_from(["full", "lora", "dora"]),
    method_family=st.sampled_from(["weights", "low_rank"]),
    samples=st.integers(10, 10**8),
    objective=st.sampled_from(["loss", "downstream"]),
).map(
    # A model has one family and size, a method one family.
    lambda each: replace(
        each,
        family="llama" if each.model != "o" else "qwen3",
        parameters=each.parameters if each.model == "n" else 10**6,
        method_family="weights" if each.method == "full" else "low_rank",
    )
)
observations = st.builds(
    Observation,
    situation=situations,
    offset=st.floats(-3, 3),
    error=st.floats(0.05, 2),
    rule_deviation=st.floats(0.1, 1),
)


@given(situations, situations)
def test_similarity_is_a_symmetric_share(one: Situation, other: Situation) -> None:
    assert 0 < similarity(one, other) <= 1
    assert similarity(one, other) == pytest.approx(similarity(other, one))
    assert similarity(one, one) == pytest.approx(1)


@given(st.lists(situations, min_size=2, max_size=12))
def test_similarities_are_correlations(found: list[Situation]) -> None:
    matrix = np.array([[similarity(one, other) for other in found] for one in found])
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


@given(st.floats(-6, -1), st.floats(0.1, 1), st.lists(observations, max_size=8))
def test_more_evidence_never_widens_a_belief(mean: float, deviation: float, seen: list[Observation]) -> None:
    prior, before = Belief(mean, deviation), deviation
    for count in range(len(seen) + 1):
        belief, weights = update(prior, HERE, seen[:count])
        assert len(weights) == count
        assert belief.deviation <= before + 1e-9
        before = belief.deviation


@given(st.lists(observations, min_size=2, max_size=6), st.randoms())
def test_order_of_evidence_does_not_matter(seen: list[Observation], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = update(Belief(-3, 0.5), HERE, seen)[0], update(Belief(-3, 0.5), HERE, shuffled)[0]
    assert one.mean == pytest.approx(other.mean, abs=1e-6)
    assert one.deviation == pytest.approx(other.deviation, abs=1e-6)


@given(st.floats(-2, 2), st.floats(0.05, 1.0))
def test_same_situation_shrinks_by_the_two_variances(offset: float, error: float) -> None:
    belief, weights = update(Belief(-3, 0.4), HERE, [Observation(HERE, offset, error, 0.4)])
    share = 0.4**2 / (0.4**2 + error**2)
    assert weights[0] == pytest.approx(share)
    assert belief.mean == pytest.approx(-3 + share * offset)
    assert belief.deviation == pytest.approx(0.4 * math.sqrt(1 - share))


@given(st.floats(-2, 2).filter(lambda offset: abs(offset) > 0.01))
def test_less_similar_and_less_exact_evidence_moves_less(offset: float) -> None:
    def moved(situation: Situation, error: float) -> float:
        return abs(update(Belief(-3, 0.4), HERE, [Observation(situation, offset, error, 0.4)])[0].mean + 3)

    own = moved(HERE, 0.2)
    assert moved(HERE, 0.6) < own
    assert moved(replace(HERE, data="e#train"), 0.2) < own
    assert moved(replace(HERE, data="d?rows=5#train"), 0.2) > moved(replace(HERE, data="e#train"), 0.2)
    assert moved(replace(HERE, model="n", parameters=10**9), 0.2) < moved(replace(HERE, model="n"), 0.2) < own


@given(st.floats(0.05, 0.98), st.floats(-6, -1), st.floats(0.01, 1))
def test_interval_holds_its_share_of_the_belief(coverage: float, mean: float, deviation: float) -> None:
    low, high = Belief(mean, deviation).interval(coverage)
    assert low < 10**mean < high
    assert math.sqrt(low * high) == pytest.approx(10**mean)
    drawn = np.random.default_rng(0).normal(mean, deviation, 4000)
    assert np.mean((drawn > math.log10(low)) & (drawn < math.log10(high))) == pytest.approx(coverage, abs=0.04)


def trial(rate: float, value: float | None, completed: bool = True, samples: int = 100) -> PastTrial:
    return PastTrial("full", rate, 8, value, samples, completed)


RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def rate_of(each: PastTrial) -> float:
    return each.learning_rate


def test_best_value_is_where_the_best_quarter_lies() -> None:
    trials = [trial(rate, value) for rate, value in zip(RATES, (5.0, 3.0, 1.0, 2.0, None), strict=True)]
    located = locate(trials, "min", rate_of)
    assert located is not None
    assert located.mean == pytest.approx(-2.5)  # two of five: 1e-3 and 1e-2
    assert not located.at_edge


def test_mode_max_turns_the_order_round() -> None:
    trials = [trial(rate, value) for rate, value in zip(RATES[:4], (1.0, 2.0, 9.0, 3.0), strict=True)]
    located = locate(trials, "max", rate_of)
    assert located is not None
    assert located.mean == pytest.approx(-3)


def test_stopped_trials_rank_behind_completed_ones_and_diverged_ones_last() -> None:
    trials = [trial(1e-5, None), trial(1e-4, 0.1, completed=False, samples=10), trial(1e-3, 2.0), trial(1e-2, 3.0)]
    located = locate(trials, "min", rate_of)
    assert located is not None
    assert located.mean == pytest.approx(-3)


def test_best_value_at_the_edge_is_less_exact() -> None:
    inside = locate([trial(rate, abs(math.log10(rate) + 3)) for rate in RATES[:4]], "min", rate_of)
    edge = locate([trial(rate, abs(math.log10(rate) + 5)) for rate in RATES[:4]], "min", rate_of)
    assert inside is not None
    assert edge is not None
    assert edge.at_edge
    assert edge.error > inside.error


@pytest.mark.parametrize(
    "trials",
    [[trial(rate, 1.0) for rate in RATES[:3]], [trial(1e-3, 1.0)] * 6, [trial(rate, None) for rate in RATES]],
    ids=["three trials", "one value", "all diverged"],
)
def test_too_little_tells_nothing(trials: list[PastTrial]) -> None:
    assert locate(trials, "min", rate_of) is None
