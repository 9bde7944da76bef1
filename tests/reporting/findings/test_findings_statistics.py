"""Every statistic of the findings against scipy, or against simulations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from orchestrator.reporting.findings.analysis.verdicts import judge, together, units_to_decide
from orchestrator.reporting.findings.statistics.estimates import UNKNOWN, Effect, equivalence_p_value, mean_effect
from orchestrator.reporting.findings.statistics.pigeonhole import pigeonhole_effect
from orchestrator.reporting.findings.statistics.rank_correlation import spearman

VALUES = st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=12)


@given(VALUES)
def test_mean_effect_is_scipys_t_interval(values):
    effect = mean_effect(values)
    if effect.deviation < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)
    one_sided = stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95)
    assert effect.one_sided_low == pytest.approx(one_sided.low, rel=1e-6, abs=1e-9)


def test_mean_effect_leaves_incomplete_pairs_out_and_knows_when_it_knows_nothing():
    assert mean_effect([1.0, math.nan, 3.0]) == mean_effect([1.0, 3.0])
    assert mean_effect([math.nan]) == UNKNOWN
    assert not mean_effect([2.0]).known


@given(VALUES, st.floats(0.1, 50))
def test_equivalence_p_value_is_the_larger_of_scipys_two_one_sided_tests(values, margin):
    if np.std(values) < 1e-6:
        return
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert equivalence_p_value(values, margin) == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)


@given(VALUES, st.floats(0.1, 50))
def test_equivalence_by_interval_and_by_p_value_agree(values, margin):
    p_value = equivalence_p_value(values, margin)
    if abs(p_value - 0.05) < 1e-6:
        return
    assert (judge(mean_effect(values), "equivalence", margin) == "reproduced") == (p_value < 0.05)


def test_equivalence_has_its_size_at_the_border():
    # At a true effect of exactly the margin, TOST may say "no difference" in 5 % of the samples.
    random = np.random.default_rng(1)
    samples = 1.0 + random.standard_normal((4_000, 5)) * 0.3
    said = np.mean([judge(mean_effect(list(row)), "equivalence", 1.0) == "reproduced" for row in samples])
    assert said == pytest.approx(0.05, abs=0.012)


def test_mean_effect_covers_the_truth_in_95_of_100_with_four_seeds():
    random = np.random.default_rng(2)
    effects = [mean_effect(list(row)) for row in 0.7 + random.standard_normal((4_000, 4))]
    assert np.mean([effect.low <= 0.7 <= effect.high for effect in effects]) == pytest.approx(0.95, abs=0.012)


@settings(max_examples=60)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(3, 9)), elements=st.integers(-4, 4)),
    st.randoms(),
)
def test_spearman_is_scipys_on_every_row_with_ties(one, random):
    other = np.array([random.sample(list(row), len(row)) for row in one], dtype=np.float64)
    found = spearman(one, other)
    for row, (left, right) in enumerate(zip(one, other, strict=True)):
        if len(set(left)) > 1 and len(set(right)) > 1:
            assert found[row] == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-9)
        else:
            assert math.isnan(found[row])


def test_spearman_ranks_infinite_values_last_and_passes_nan_on():
    assert spearman(np.array([1.0, 2.0, math.inf]), np.array([5.0, 6.0, 7.0])) == pytest.approx(1.0)
    assert np.isnan(spearman(np.array([1.0, math.nan, 2.0]), np.array([1.0, 2.0, 3.0])))


def _mean(values):
    return values.mean(axis=-1)


def test_pigeonhole_interval_of_a_mean_is_conservative_where_rows_and_columns_have_effects():
    random = np.random.default_rng(3)
    covered = []
    for trial in range(300):
        rows, columns = random.standard_normal((12, 1)), random.standard_normal((1, 8))
        matrix = rows + columns + random.standard_normal((12, 8))
        effect = pigeonhole_effect([(matrix,)], _mean, seed=trial, resamples=400)
        covered.append(effect.low <= 0 <= effect.high)
    assert 0.90 <= np.mean(covered) <= 1.0


def test_pigeonhole_interval_of_a_rank_correlation_covers_the_truth_of_the_grids_own_shape():
    # Three batches of six rates and four seeds, as in the suite; the population's correlation is known by simulation.
    random = np.random.default_rng(4)

    def draw(configurations):
        signal = random.standard_normal((configurations, 1)) + 0.3 * random.standard_normal((configurations, 4))
        score = (
            0.8 * signal
            + 0.8 * random.standard_normal((configurations, 1))
            + 0.1 * random.standard_normal((configurations, 4))
        )
        return signal, score

    truth = float(np.mean([float(spearman(*(part.reshape(-1) for part in draw(400)))) for _ in range(20)]))
    effects = [
        pigeonhole_effect([draw(6) for _ in range(3)], spearman, seed=trial, resamples=300) for trial in range(200)
    ]
    covered = np.mean([effect.low <= truth <= effect.high for effect in effects])
    assert 0.85 <= covered <= 1.0


def test_pigeonhole_of_a_perfect_ranking_is_one_throughout():
    signal = np.arange(24, dtype=float).reshape(6, 4)
    effect = pigeonhole_effect([(signal, signal**3)], spearman)
    assert (effect.value, effect.low, effect.high, effect.n) == (1.0, 1.0, 1.0, 24)


def test_pigeonhole_of_a_constant_is_unknown():
    assert pigeonhole_effect([(np.ones((6, 4)), np.arange(24.0).reshape(6, 4))], spearman) == UNKNOWN
    assert pigeonhole_effect([], spearman) == UNKNOWN


def _around(value, two, one=None, n=5):
    one = two * 0.8 if one is None else one
    return Effect(value, value - two, value + two, value - one, value + one, n)


@pytest.mark.parametrize(
    ("effect", "rule", "verdict"),
    [
        (_around(0.05, 0.02), "superiority", "reproduced"),
        (_around(0.02, 0.01), "superiority", "undecided"),
        (_around(0.01, 0.005), "superiority", "not reproduced"),
        (_around(-0.2, 0.1), "superiority", "not reproduced"),
        (_around(0.05, 0.2), "superiority", "undecided"),
        (_around(0.0, 0.02), "equivalence", "reproduced"),
        (_around(0.0, 0.2), "equivalence", "undecided"),
        (_around(-0.1, 0.05), "equivalence", "not reproduced"),
        (_around(0.1, 0.05), "equivalence", "not reproduced"),
        (_around(0.2, 0.05), "non_inferiority", "reproduced"),
        (_around(-0.01, 0.01), "non_inferiority", "reproduced"),
        (_around(-0.1, 0.05), "non_inferiority", "not reproduced"),
        (_around(-0.1, 0.2), "non_inferiority", "undecided"),
        (UNKNOWN, "equivalence", "undecided"),
    ],
)
def test_judge_follows_the_registered_rules(effect, rule, verdict):
    assert judge(effect, rule, 0.03) == verdict


@given(st.floats(-1, 1), st.floats(0.001, 1), st.sampled_from(["superiority", "equivalence", "non_inferiority"]))
def test_a_narrower_interval_never_turns_a_verdict_round(value, width, rule):
    wide, narrow = judge(_around(value, width), rule, 0.1), judge(_around(value, width / 10), rule, 0.1)
    assert wide in ("undecided", narrow)


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=6).filter(lambda values: np.std(values) > 0.01),
    st.sampled_from(["superiority", "equivalence", "non_inferiority"]),
)
def test_the_n_that_would_decide_decides_and_one_less_does_not(values, rule):
    effect = mean_effect(values)
    needed = units_to_decide(effect, rule, 0.1)
    if needed is None:
        return

    def judged(n):
        two, one = (stats.t.ppf(share, n - 1) * effect.deviation / math.sqrt(n) for share in (0.975, 0.95))
        return judge(_around(effect.value, two, one, n), rule, 0.1)

    assert judged(needed) != "undecided"
    assert needed == effect.n + 1 or judged(needed - 1) == "undecided"


def test_a_finding_is_reproduced_only_with_all_its_primary_comparisons():
    assert together(["reproduced", "reproduced"]) == "reproduced"
    assert together(["reproduced", "undecided"]) == "undecided"
    assert together(["undecided", "not reproduced"]) == "not reproduced"
    assert together([]) == "undecided"
