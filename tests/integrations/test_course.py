"""The milestones that a process reaches, whatever it reports and wherever it begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import EntrypointError
from orchestrator.integrations.milestone_clock import MilestoneClock

LEVELS = (16, 32, 64)


@st.composite
def courses(draw: st.DrawFn) -> tuple[tuple[int, ...], int]:
    """Return milestones and an effective batch size that the budget holds."""
    levels = tuple(sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=6))))
    return levels, draw(st.integers(1, levels[-1]))


@given(courses(), st.data())
def test_every_milestone_is_reached_once_in_order_step_by_step(
    course: tuple[tuple[int, ...], int], data: st.DataObject
) -> None:
    levels, batch = course
    known = data.draw(st.integers(0, len(levels)))
    walk = MilestoneClock("code", levels, batch, known)
    reached: list[int] = []
    for step in range(1, -(-levels[-1] // batch) + 1):
        asked = walk.reaches(step * batch)
        now = walk.advance(step * batch)
        assert asked == bool(now)
        reached += now
    assert reached == list(range(known, len(levels)))
    assert walk.next_milestone is None


@given(courses(), st.data())
def test_going_on_from_a_checkpoint_reaches_the_milestones_that_are_left(
    course: tuple[tuple[int, ...], int], data: st.DataObject
) -> None:
    levels, batch = course
    start = data.draw(st.integers(0, -(-levels[-1] // batch) - 1)) * batch
    walk = MilestoneClock("code", levels, batch, known=sum(level <= start for level in levels))
    walk.start_at(start)
    reached = [index for seen in range(start + batch, levels[-1] + batch, batch) for index in walk.advance(seen)]
    assert reached == [index for index, level in enumerate(levels) if level > start]


def test_samples_that_fall_are_refused() -> None:
    walk = MilestoneClock("code.py:train", LEVELS, 8)
    walk.advance(24)
    with pytest.raises(
        EntrypointError, match=r"code.py:train: samples_seen = 8: the samples seen fell: 24 were reported"
    ):
        walk.advance(8)


def test_a_report_that_skips_a_milestone_is_refused_unless_one_step_is_that_large() -> None:
    with pytest.raises(EntrypointError, match=r"passes several milestones \(16, 32\), after 0 samples"):
        MilestoneClock("code", LEVELS, 8).advance(40)
    assert MilestoneClock("code", LEVELS, 40).advance(40) == (0, 1)


@pytest.mark.parametrize("value", [-1, 1.5, "8", None])
def test_samples_are_a_count(value: object) -> None:
    with pytest.raises(EntrypointError, match="samples_seen"):
        MilestoneClock("code", LEVELS, 8).advance(value)


def test_a_count_may_be_of_another_kind_of_integer_and_pass_the_budget() -> None:
    walk = MilestoneClock("code", LEVELS, 64)
    assert walk.advance(np.int64(70)) == (0, 1, 2)
    assert walk.position == 64


def test_an_end_on_purpose_reaches_all_that_is_left() -> None:
    walk = MilestoneClock("code", LEVELS, 8)
    walk.advance(16)
    assert walk.finish() == (1, 2)
    assert walk.next_milestone is None
