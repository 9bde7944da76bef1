"""How close is the same: bit for bit, within rounding, within the error, or not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.rerun.compare import compare_scores, compare_signals, judge, overall, relative
from orchestrator.records import TrainingSignal
from orchestrator.results.records import MilestoneResult

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


def signal(step: int, loss: float = 1.0, grad_norm: float = 2.0) -> TrainingSignal:
    return TrainingSignal(step, 8 * step, 80 * step, loss, loss, grad_norm, 1e-3, 1.0, 1.0)


@pytest.mark.parametrize(
    ("before", "now", "error", "verdict"),
    [
        (1.0, 1.0, None, "identical"),
        (math.nan, math.nan, None, "identical"),
        (1.0, 1.0005, 0.0, "within rounding"),
        (1.0, 1.01, 0.01, "within error"),
        (1.0, 1.03, 0.01, "different"),
        (1.0, 1.03, None, "different"),
        (1.0, math.nan, 10.0, "different"),
        (1.0, None, 10.0, "different"),
        (0.0, 1e-9, None, "different"),
    ],
)
def test_judge_names_the_closest_that_holds(
    before: float, now: float | None, error: float | None, verdict: str
) -> None:
    assert judge(before, now, error) == verdict


@given(FINITE, FINITE)
def test_relative_is_symmetric_and_bounded(one: float, other: float) -> None:
    assert relative(one, other) == relative(other, one)
    assert 0 <= relative(one, other) <= 2
    assert (relative(one, other) == 0) == (one == other)


def test_signals_name_the_first_step_that_differs() -> None:
    before = [signal(step) for step in range(1, 6)]
    assert compare_signals(before, before).verdict == "identical"
    rounded = [*before[:3], signal(4, 1.0 + 1e-6), signal(5)]
    found = compare_signals(before, rounded)
    assert (found.first_difference, found.verdict, found.steps) == (4, "within rounding", 5)
    assert found.loss == pytest.approx(1e-6, rel=1e-3)
    assert compare_signals(before, [replace(each, grad_norm=3.0) for each in before]).verdict == "different"
    assert compare_signals([], before).verdict == "unknown"
    assert compare_signals(before, before[:2]).steps == 2


def test_scores_are_compared_with_their_own_errors() -> None:
    milestone = MilestoneResult(0, 8, 8, 80, {"a": 1.0, "b": 2.0}, {"a": 0.1}, 1.0, 1.0, None)
    found = compare_scores(milestone, {"a": 1.15})
    assert [(each.metric, each.verdict) for each in found] == [("a", "within error"), ("b", "different")]


@pytest.mark.parametrize(
    ("scores", "signals", "verdict"),
    [
        (["identical", "identical"], "identical", "identical"),
        (["identical"], "unknown", "identical"),
        (["identical"], "different", "within rounding"),
        (["identical", "within error"], "identical", "within error"),
        (["within rounding", "different"], "identical", "different"),
        ([], "identical", "identical"),
        ([], "different", "different"),
    ],
)
def test_overall_is_the_worst_score(scores: list, signals: str, verdict: str) -> None:
    assert overall(scores, signals) == verdict
