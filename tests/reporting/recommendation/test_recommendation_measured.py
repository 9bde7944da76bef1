"""What the page on `recommend` says was measured on the shipped recorded sweeps still holds."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.replay_files import recorded_files
from tests.benchmarks.bench_recommend import draw_winners, rate_errors, space_of
from tests.benchmarks.recorded_past import PAIRS, paired, past_sweep


@pytest.fixture(scope="module")
def sweeps():
    return paired(read_recorded(recorded_files(["shipped"])))


def test_every_pair_has_its_shipped_sweep(sweeps):
    assert {sweep.name for sweep in sweeps} == set(PAIRS)


def test_past_sweeps_say_better_where_the_best_rate_lies(sweeps):
    rules, others, all_others = rate_errors(sweeps).values()
    assert rules[0] > others[0] > all_others[0]
    assert all(0.4 < standard < 1.3 for _, standard, _ in (rules, others, all_others))


def test_small_budget_from_the_recommendation_beats_a_wide_one(sweeps):
    sweep = next(each for each in sweeps if each.name == "dolly_stories")
    past = [past_sweep(each) for each in sweeps]
    ours, wide = (
        draw_winners(sweep, space_of(arm, sweep, "8-trials", past), 12) for arm in ("rules, other pairs", "wide")
    )
    assert np.mean(ours) < np.mean(wide)
