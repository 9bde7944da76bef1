"""Milestone reports come back as they were written, odd numbers included."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.records import Action, Decision, Milestone, TrainingSignal, TrialState
from orchestrator.storage.milestone_reports import read_report, write_report

numbers = st.floats(allow_nan=False)
signals = st.builds(
    TrainingSignal,
    st.integers(1, 9),
    st.integers(1, 99),
    st.integers(1, 999),
    numbers,
    numbers,
    numbers,
    numbers,
    numbers,
    numbers,
    st.none() | numbers,
    st.none() | numbers,
)
decisions = st.builds(
    Decision,
    st.just("t"),
    st.integers(0, 99),
    st.sampled_from(Action),
    st.just("divergence"),
    st.just("all"),
    st.text(min_size=1).filter(str.strip),
    st.dictionaries(st.text(), st.none() | numbers | st.text()),
)
milestones = st.builds(
    Milestone,
    st.just("t"),
    st.integers(0, 3),
    st.integers(1, 99),
    st.integers(1, 99),
    st.integers(1, 999),
    st.sampled_from(TrialState),
    st.dictionaries(st.text(), numbers),
    st.lists(signals, max_size=3).map(tuple),
    numbers,
    numbers,
    numbers,
    st.none() | st.text(),
    st.dictionaries(st.text(), numbers),
    st.text(),
    st.dictionaries(st.text(), numbers),
)


@given(milestones, st.none() | decisions)
@settings(deadline=None, max_examples=50)
def test_report_comes_back(
    tmp_path_factory: pytest.TempPathFactory, milestone: Milestone, halted: Decision | None
) -> None:
    path = tmp_path_factory.mktemp("report") / "reports" / "m0000.json"
    write_report(path, milestone, halted)
    assert read_report(path) == (milestone, halted)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_report_of_a_diverged_trial_keeps_its_nan(tmp_path: Path) -> None:
    signal = TrainingSignal(1, 8, 72, math.nan, math.nan, math.inf, 1e-3, 10.0, 0.1)
    milestone = Milestone("t", 0, 8, 8, 72, TrialState.DIVERGED, {}, (signal,), 1.0, 0.0)
    write_report(tmp_path / "m.json", milestone, None)
    read, _ = read_report(tmp_path / "m.json")
    assert math.isnan(read.signals[0].loss)
    assert read.signals[0].grad_norm == math.inf
