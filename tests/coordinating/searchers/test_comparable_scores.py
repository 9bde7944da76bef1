"""Configurations that were trained to different milestones are compared at one fidelity."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.coordinating.searchers.comparable_scores import Known, comparable_losses
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.sweep import ObjectiveSpec

LOSS = ObjectiveSpec(metric="eval/loss")
KEPT = ObjectiveSpec(metric="general/forgetting")
ACCURACY = ObjectiveSpec(metric="eval/exact_match", mode="max")
ENDED = [Outcome.DIVERGED, Outcome.FAILED]


def known(outcome: Outcome = Outcome.PAUSED, /, **scores: Any) -> Known:
    """Return a configuration with scores by milestone: ``m8=0.5`` is a loss of 0.5 at 8 samples, a dict all its scores."""
    config = TrialConfig(method="full", effective_batch_size=8, learning_rate=1e-3, samples=64)
    table = {int(key[1:]): value if isinstance(value, dict) else {"eval/loss": value} for key, value in scores.items()}
    return Known(config, {}, outcome, table)


def losses(*entries: Known, startup: int = 1, objectives: tuple[ObjectiveSpec, ...] = (LOSS,)) -> list[Any]:
    """Return what `comparable_losses` gives, without the tuples where there is one objective."""
    rows = comparable_losses(entries, objectives, startup)
    return [row[0] if row is not None and len(row) == 1 else row for row in rows]


def test_scores_of_one_milestone_stand_as_they_are() -> None:
    assert losses(known(m8=3.0), known(m8=1.0), known()) == [3.0, 1.0, None]


def test_objectives_to_be_maximised_are_turned() -> None:
    entries = [known(m8={"eval/exact_match": value}) for value in (0.25, 0.5)]
    assert losses(*entries, objectives=(ACCURACY,)) == [-0.25, -0.5]


def test_weighted_objectives_are_summed() -> None:
    both = ObjectiveSpec(metric={"eval/loss": 1.0, "general/forgetting": 2.0})
    entry = known(m8={"eval/loss": 1.0, "general/forgetting": 0.25})
    assert losses(entry, objectives=(both,)) == [1.5]


def test_a_waiting_configuration_moves_by_the_median_change_of_those_that_went_on() -> None:
    went_on = [known(m8=3.0, m16=2.0), known(m8=4.0, m16=3.5), known(m8=5.0, m16=1.0)]
    assert losses(*went_on, known(m8=2.5)) == [2.0, 3.5, 1.0, 1.5]


def test_changes_add_up_over_milestones() -> None:
    whole = [known(Outcome.COMPLETED, m8=4.0 + n, m16=3.0 + n, m64=1.0 + n) for n in range(3)]
    assert losses(*whole, known(m8=6.5), known(m8=9.0, m16=6.0)) == [1.0, 2.0, 3.0, 3.5, 4.0]


def test_a_milestone_that_few_have_reached_does_not_count_yet() -> None:
    ahead = [known(m8=2.0, m16=1.5), known(m8=3.0, m16=0.5)]
    assert losses(*ahead, known(m8=4.0)) == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("outcome", ENDED)
def test_broken_configurations_count_as_worse_than_the_worst_seen(outcome: Outcome) -> None:
    entries = [known(m8=1.0), known(m8=2.0), known(m8=3.0), known(outcome), known(outcome, m8=0.5)]
    assert losses(*entries, startup=5) == [1.0, 2.0, 3.0, 3.5, 3.5]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers_count_as_broken(value: float) -> None:
    assert losses(known(m8=1.0), known(m8=2.0), known(m8=1.5), known(m8=value)) == [1.0, 2.0, 1.5, 2.25]


def test_nothing_but_broken_configurations_says_nothing() -> None:
    assert losses(known(Outcome.DIVERGED), known(m8=math.nan), known(Outcome.FAILED)) == [None] * 3


def test_an_objective_of_the_end_waits_for_enough_scores() -> None:
    early = [known(m8={"eval/loss": value}) for value in (1.0, 2.0, 3.0)]
    done = known(Outcome.COMPLETED, m8={"eval/loss": 4.0}, m64={"eval/loss": 4.0, "general/forgetting": 0.5})
    assert losses(*early, done, startup=3, objectives=(LOSS, KEPT)) == [1.0, 2.0, 3.0, 4.0]
    assert losses(*early, done, startup=3, objectives=(KEPT,)) == [None] * 4


def test_with_enough_scores_all_objectives_count() -> None:
    done = [
        known(Outcome.COMPLETED, m8={"eval/loss": 4.0 + n}, m64={"eval/loss": 3.0 + n, "general/forgetting": 0.5 - n})
        for n in range(3)
    ]
    early = {"m8": {"eval/loss": 9.0}}
    entries = [*done, known(Outcome.PAUSED, **early), known(Outcome.STOPPED, **early), known(Outcome.DIVERGED, **early)]
    assert losses(*entries, startup=3, objectives=(LOSS, KEPT)) == [
        (3.0, 0.5),
        (4.0, -0.5),
        (5.0, -1.5),
        None,  # it may still be measured
        (8.0, 0.5),  # stopped without it: no better than the worst seen
        (9.25, 1.0),  # diverged
    ]


def test_metrics_that_nobody_measured_do_no_harm() -> None:
    assert losses(known(m8={"other/loss": 1.0}), known(Outcome.STOPPED), known(Outcome.COMPLETED)) == [None] * 3
    assert comparable_losses([], [LOSS], 1) == []


numbers = st.floats(-100, 100) | st.sampled_from([math.nan, math.inf])
entries = st.builds(
    lambda outcome, table: known(outcome, **{f"m{level}": scores for level, scores in table.items()}),
    st.sampled_from(list(Outcome)),
    st.dictionaries(
        st.sampled_from([8, 16, 64]),
        st.dictionaries(st.sampled_from(["eval/loss", "general/forgetting", "other/loss"]), numbers),
    ),
)


@given(st.lists(entries, max_size=12), st.integers(1, 6), st.sampled_from([(LOSS,), (LOSS, KEPT), (KEPT,)]))
def test_any_knowledge_gives_finite_losses_of_one_length(
    entries: list[Known], startup: int, objectives: tuple[ObjectiveSpec, ...]
) -> None:
    rows = [row for row in comparable_losses(entries, objectives, startup) if row is not None]
    assert all(math.isfinite(loss) for row in rows for loss in row)
    assert len({len(row) for row in rows}) <= 1


ladders = st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=3), min_size=3, max_size=12)


@given(ladders)
def test_configurations_of_the_same_depth_keep_their_order(ladders: list[list[float]]) -> None:
    made = [known(**{f"m{8 * 2**n}": loss for n, loss in enumerate(ladder)}) for ladder in ladders]
    rows = losses(*made)
    for mine, ladder in zip(rows, ladders, strict=True):
        for other, rival in zip(rows, ladders, strict=True):
            if len(ladder) == len(rival) == 1 and ladder[0] < rival[0]:
                assert mine <= other


def test_broken_configurations_differ_from_sound_ones_that_are_all_alike() -> None:
    assert losses(*[known(m8=0.0)] * 3, known(Outcome.DIVERGED)) == [0.0, 0.0, 0.0, 1.0]


@given(ladders, st.sampled_from(ENDED))
def test_nothing_is_worse_than_a_broken_configuration(ladders: list[list[float]], outcome: Outcome) -> None:
    made = [known(**{f"m{8 * 2**n}": loss for n, loss in enumerate(ladder)}) for ladder in ladders]
    *rows, broken = losses(*made, known(outcome, m8=-99.0))
    assert broken > max(rows)
