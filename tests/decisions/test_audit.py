"""Which stopped trials are audited, and what they say of the rules that stopped them."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from orchestrator.decisions.final.audit import AuditDraw, Rate, measure
from orchestrator.decisions.objective import WORST

shares = st.floats(0, 1)


@given(share=shares, place=st.integers(0, 5000))
def test_every_stop_has_the_same_probability(share: float, place: int) -> None:
    starts = [(number + 0.5) / 2000 for number in range(2000)]
    drawn = sum(AuditDraw(share, start).takes(place) for start in starts) / len(starts)
    assert drawn == pytest.approx(share, abs=0.001)


@given(share=shares, start=st.floats(0, 1, exclude_max=True), stops=st.integers(0, 400))
def test_draws_are_spread_evenly(share: float, start: float, stops: int) -> None:
    # Golden-ratio steps keep the count within a few of its expectation; independent draws would vary by its root.
    assert abs(AuditDraw(share, start).count(stops) - share * stops) <= 3


@given(few=shares, more=shares, start=st.floats(0, 1, exclude_max=True), place=st.integers(0, 400))
def test_a_higher_share_draws_the_same_and_more(few: float, more: float, start: float, place: int) -> None:
    low, high = sorted((few, more))
    assert AuditDraw(low, start).takes(place) <= AuditDraw(high, start).takes(place)


def test_share_of_nothing_and_of_all() -> None:
    assert AuditDraw.seeded(0.0, "name", 1).count(200) == 0
    assert AuditDraw.seeded(1.0, "name", 1).count(200) == 200


def test_start_follows_from_the_sweep() -> None:
    starts = {AuditDraw.seeded(0.1, name, seed).start for name, seed in itertools.product("abc", range(4))}
    assert len(starts) == 12
    assert AuditDraw.seeded(0.1, "a", 1) == AuditDraw.seeded(0.1, "a", 1)


@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_interval_is_that_of_clopper_and_pearson(counts: tuple[int, int]) -> None:
    rate = Rate(*counts)
    exact = binomtest(*counts).proportion_ci(0.95, method="exact")
    assert (rate.low, rate.high) == (pytest.approx(exact.low, abs=1e-9), pytest.approx(exact.high, abs=1e-9))


def keys(*values: float) -> list[tuple[float, float]]:
    return [(0.0, value) for value in values]


def test_false_stops_and_regret() -> None:
    found = measure(keys(0.5, 1.5, 2.0, 2.5), keys(1.0, 3.0), stopped=13, trials=20, tolerance=0.0, tolerated=0.05)
    assert found is not None
    assert (found.beat_best.count, found.beat_best.total) == (1, 4)
    assert found.regret == pytest.approx(0.5 / 4)
    assert found.interval is not None
    assert found.interval[0] == 0
    assert found.interval[0] <= found.regret <= found.interval[1] <= 0.5
    # Each audited trial stands for four of the twelve other stopped ones: 0.5 comes 1st, and 1.5 about 6th, of 20.
    assert (found.best_tenth.count, found.places) == (1, 2)
    assert found.verdict == "too few"


def test_a_trial_within_the_tolerance_is_no_false_stop() -> None:
    audited, completed = keys(0.95, 0.7), keys(1.0)
    found = measure(audited, completed, stopped=2, trials=3, tolerance=0.1, tolerated=0.05)
    assert found is not None
    assert found.beat_best.count == 1


def test_a_trial_that_keeps_the_constraints_beats_one_that_breaks_them() -> None:
    found = measure([(0.0, 2.0), (0.5, 0.1)], [(0.2, 1.0)], stopped=2, trials=3, tolerance=0.0, tolerated=None)
    assert found is not None
    assert found.beat_best.count == 1
    assert found.regret == 0, "what it lost in the constraint has no unit of the objective"
    assert found.verdict == "unknown"


def test_diverged_audits_were_rightly_stopped() -> None:
    found = measure([WORST, WORST], keys(1.0), stopped=5, trials=6, tolerance=0.0, tolerated=0.05)
    assert found is not None
    assert (found.beat_best.count, found.best_tenth.count, found.regret) == (0, 0, 0)
    assert found.interval is None, "a bootstrap of zeros knows nothing of the losses it has not seen"


@pytest.mark.parametrize(
    ("false", "right", "verdict"), [(6, 2, "too high"), (0, 80, "within"), (0, 8, "too few"), (1, 8, "too few")]
)
def test_verdict(false: int, right: int, verdict: str) -> None:
    audited = keys(*[0.5] * false, *[2.0] * right)
    found = measure(audited, keys(1.0), len(audited), len(audited) + 1, tolerance=0.0, tolerated=0.05)
    assert found is not None
    assert found.verdict == verdict


def test_nothing_to_compare() -> None:
    assert measure([], keys(1.0), 3, 4, 0.0, 0.05) is None
    assert measure(keys(1.0), [], 3, 4, 0.0, 0.05) is None
    assert measure(keys(1.0), [WORST], 3, 4, 0.0, 0.05) is None


values = st.floats(-100, 100)


@given(
    audited=st.lists(values, min_size=1, max_size=12, unique=True),
    completed=st.lists(values, min_size=1, max_size=12),
    more=st.integers(0, 30),
    tolerance=st.floats(0, 10),
)
def test_figures_stay_within_their_bounds(
    audited: list[float], completed: list[float], more: int, tolerance: float
) -> None:
    stopped = len(audited) + more
    found = measure(keys(*audited), keys(*completed), stopped, stopped + len(completed), tolerance, 0.05)
    assert found is not None
    assert 0 <= found.beat_best.low <= found.beat_best.value <= found.beat_best.high <= 1
    assert found.beat_best.count == sum(min(completed) - value > tolerance for value in audited)
    assert found.regret == pytest.approx(
        math.fsum(max(0.0, min(completed) - value) for value in audited) / len(audited)
    )
    assert found.best_tenth.count <= found.places
