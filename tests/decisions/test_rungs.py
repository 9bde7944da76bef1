import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.decisions.objective import WORST
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.decisions.rungs.cohort import RungSystem
from orchestrator.decisions.rungs.rung import Entry, Rung


def system_with(rates, *, quota=1, factor=2.0, rungs=1, expected=None):
    """A closed cohort of trials (id -> (method, learning rate))."""
    system = RungSystem("c", [(i, 100 * (i + 1), factor) for i in range(rungs)], quota)
    for trial_id, (method, rate) in rates.items():
        system.add(trial_id, method, rate)
    if expected is None:
        system.closed = True
    else:
        system.expected = expected
    return system


def arrive_all(system, values, rung=0):
    for trial_id, value in values.items():
        system.arrive(trial_id, rung, (0.0, value))


@given(size=st.integers(1, 10_000), factor=st.floats(1.05, 10))
def test_rung_places_are_the_ceiling(size, factor):
    places = Rung(0, 100, factor).places(size)
    assert 1 <= places <= size
    assert places - 1 < size / factor <= places + 1e-6


@pytest.mark.parametrize(("size", "factor", "places"), [(9, 3, 3), (10, 3, 4), (11, 1.1, 10), (1, 4, 1), (24, 2, 12)])
def test_rung_places_in_examples(size, factor, places):
    assert Rung(0, 100, factor).places(size) == places


def test_rung_ranks_ties_by_trial_id_and_worst_last():
    rung = Rung(0, 100, 2.0)
    for trial_id, key in (("b", (0.0, 1.0)), ("a", (0.0, 1.0)), ("x", WORST), ("c", (0.0, 0.5))):
        rung.record(Entry(trial_id, "m", key), waiting=True)
    assert [entry.trial_id for entry in rung.waiting()] == ["c", "a", "b", "x"]
    assert [rung.rank(entry) for entry in rung.waiting()] == [1, 2, 3, 4]
    assert rung.cut_off(2) == (0.0, 1.0)
    assert rung.cut_off(4) == WORST


def test_rung_record_replaces_and_withdraw_leaves_nothing():
    rung = Rung(0, 100, 2.0)
    rung.record(Entry("a", "m", (0.0, 3.0)), waiting=True)
    rung.record(Entry("a", "m", (0.0, 1.0)), waiting=True)
    assert rung.size == 1
    assert rung.best() == Entry("a", "m", (0.0, 1.0))
    assert rung.waiting_count == 1
    rung.withdraw("a")
    assert rung.size == 0
    assert rung.best() is None
    assert rung.waiting_count == 0
    assert not rung.is_waiting("a")


@given(
    values=st.lists(st.integers(0, 8), min_size=1, max_size=25),
    factor=st.sampled_from([1.5, 2, 3, 4]),
    seed=st.integers(0, 99),
)
def test_rung_certain_verdicts_never_contradict_the_complete_rung(values, factor, seed):
    scores = {f"t{i:02d}": float(value) for i, value in enumerate(values)}
    system = system_with(dict.fromkeys(scores, ("m", 0.0001)), quota=0, factor=factor)
    order = sorted(scores)
    random.Random(seed).shuffle(order)
    promoted, stopped = set(), set()
    for trial_id in order:
        system.arrive(trial_id, 0, (0.0, scores[trial_id]))
        for verdict in system.certain(0):
            system.settle(verdict.entry.trial_id, verdict.promote)
            (promoted if verdict.promote else stopped).add(verdict.entry.trial_id)
    top = sorted(scores, key=lambda trial_id: (scores[trial_id], trial_id))[: math.ceil(len(scores) / factor)]
    assert promoted == set(top)
    assert stopped == set(scores) - set(top)


def test_rung_system_knows_certain_promotions_before_all_have_arrived():
    system = system_with({f"t{i}": ("m", 1e-4) for i in range(6)}, quota=0)
    arrive_all(system, {"t0": 1.0, "t1": 2.0, "t2": 3.0})
    assert system.certain(0) == []
    system.arrive("t3", 0, (0.0, 4.0))
    assert [(v.entry.trial_id, v.promote) for v in system.certain(0)] == [("t0", True), ("t3", False)]


def test_rung_system_counts_announced_trials_as_outstanding():
    system = system_with({"t0": ("m", 1e-4)}, expected=3)
    assert system.outstanding(0) == 3
    assert system.outstanding(0, "other") == 2
    system.closed = True
    assert system.outstanding(0) == 1
    assert system.outstanding(0, "other") == 0
    open_ended = RungSystem("c", [(0, 100, 2.0)], 1)
    assert math.isinf(open_ended.outstanding(0))


def test_rung_system_waits_for_trials_below_at_a_higher_rung():
    system = system_with({"t0": ("m", 1.0), "t1": ("m", 1.0)}, rungs=2, quota=0)
    arrive_all(system, {"t0": 1.0, "t1": 2.0})
    system.settle("t0", True)
    assert system.outstanding(1) == 2
    system.settle("t1", False)
    assert system.outstanding(1) == 1
    system.arrive("t0", 1, (0.0, 1.0))
    assert system.outstanding(1) == 0
    assert system.training == 0


def test_rung_system_diverged_and_failed_trials_count_as_arrived_and_worst():
    system = system_with({f"t{i}": ("m", 10.0**-i) for i in range(4)}, quota=0)
    system.end("t2", "diverged")
    system.end("t3", "failed")
    arrive_all(system, {"t0": 1.0, "t1": 2.0})
    verdicts = system.certain(0)
    assert [(v.entry.trial_id, v.promote) for v in verdicts] == [("t0", True), ("t1", True)]


def test_rung_system_revive_takes_a_failure_back():
    system = system_with({f"t{i}": ("m", 1e-4) for i in range(2)}, quota=0)
    system.end("t0", "failed")
    assert system.rungs[0].size == 1
    system.revive("t0")
    assert system.rungs[0].size == 0
    assert system.outstanding(0) == 2
    system.arrive("t0", 0, (0.0, 1.0))
    assert system.rungs[0].size == 1
    assert system.outstanding(0) == 1


def test_bracket_closes_only_with_worse_trials_on_both_sides():
    system = system_with({"low": ("m", 1e-5), "best": ("m", 1e-4), "high": ("m", 1e-3), "far": ("m", 1e-6)})
    arrive_all(system, {"best": 1.0, "low": 2.0})
    assert system.bracket(0, "m").below == "low"
    assert not system.bracket(0, "m").closed
    system.end("high", "failed")
    assert not system.bracket(0, "m").closed
    system.revive("high")
    system.end("high", "diverged")
    bracket = system.bracket(0, "m")
    assert bracket.closed
    assert bracket.above == "high"
    system.arrive("far", 0, (0.0, 5.0))
    assert system.bracket(0, "m").below == "low"


def test_bracket_ignores_equal_results_and_other_methods():
    system = system_with({"a": ("m", 1e-5), "b": ("m", 1e-4), "c": ("m", 1e-3), "d": ("n", 1e-2)})
    arrive_all(system, {"a": 1.0, "b": 1.0, "c": 2.0, "d": 9.0})
    bracket = system.bracket(0, "m")
    assert (bracket.best, bracket.below, bracket.above) == ("a", None, "c")


def test_bracket_remembers_worse_trials_that_were_stopped_lower():
    system = system_with({"low": ("m", 1e-5), "mid": ("m", 1e-4), "high": ("m", 1e-3)}, rungs=2)
    arrive_all(system, {"low": 2.0, "mid": 1.0, "high": 3.0})
    for trial_id in ("mid", "low", "high"):
        system.settle(trial_id, trial_id == "mid")
    system.arrive("mid", 1, (0.0, 0.9))
    assert system.bracket(1, "m").closed


def test_quota_keeps_a_weak_method_until_its_best_rate_is_bracketed():
    strong = {f"s{i}": ("strong", 10.0**-i) for i in range(4)}
    weak = {"w0": ("weak", 1e-5), "w1": ("weak", 1e-4), "w2": ("weak", 1e-3), "w3": ("weak", 1e-2)}
    values = {"s0": 1.0, "s1": 1.1, "s2": 1.2, "s3": 1.3}
    edge = system_with({**strong, **weak})
    arrive_all(edge, {**values, "w0": 5.0, "w1": 6.0, "w2": 7.0, "w3": 8.0})
    kept = {v.entry.trial_id: v.basis for v in edge.certain(0) if v.promote}
    assert kept == {"s0": "top", "s1": "top", "s2": "top", "s3": "top", "w0": "quota"}
    inner = system_with({**strong, **weak})
    arrive_all(inner, {**values, "w0": 6.0, "w1": 5.0, "w2": 7.0, "w3": 8.0})
    assert {v.entry.trial_id for v in inner.certain(0) if v.promote} == {"s0", "s1", "s2", "s3"}


def test_quota_waits_until_the_method_is_complete():
    system = system_with({"s0": ("s", 1.0), "s1": ("s", 2.0), "w0": ("w", 1.0), "w1": ("w", 2.0)})
    arrive_all(system, {"s0": 1.0, "s1": 2.0, "w0": 3.0})
    assert "w0" not in {v.entry.trial_id for v in system.certain(0)}
    system.arrive("w1", 0, (0.0, 4.0))
    assert [(v.entry.trial_id, v.promote, v.basis) for v in system.certain(0)] == [
        ("s0", True, "top"),
        ("s1", True, "top"),
        ("w0", True, "quota"),
        ("w1", False, "cut"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"reduction_factor": 1.0},
        {"reduction_factor": math.inf},
        {"quota_per_method": -1},
        {"levels": [0.5, 1.0]},
        {"milestones": (1, 0)},
    ],
)
def test_rung_rule_refuses_senseless_parameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RungRule(**wrong)
