"""Regret, ranks, noise and intervals against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.objective import Constraint, Objective
from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.records import Outcome
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, Replay, simulate
from orchestrator.simulation.figures import Yardstick
from orchestrator.simulation.forecast.intervals import Bootstrap
from orchestrator.simulation.recorded.repeat_noise import Noise, finals, interquartile_range, noise_of, repeat_noise
from orchestrator.simulation.recorded.sweep import RecordedSweep
from tests.worlds.replay_worlds import LOSS, falling, names, trial


def replay_of(recorded, done, chosen, samples=10, outcome=Outcome.STOPPED):
    outcomes = {name: Outcome.COMPLETED if name in done else outcome for name in names(recorded)}
    trained = {name: recorded.trial(name).samples if name in done else samples for name in outcomes}
    return Replay("x", trained, outcomes, (), 128.0, chosen)


def measure(recorded, replay, noise=0.05, objective=LOSS, workers=1):
    return Yardstick(recorded, objective, Noise(noise, 0.5, "measured"), workers).measure(replay)


def test_figures_of_a_run_that_keeps_the_second_and_chooses_the_third():
    recorded = falling(20)  # finals 1.0, 1.1, ... ; the best tenth are t0 and t1
    figures = measure(recorded, replay_of(recorded, {"t1", "t2"}, "t2"), workers=2)
    assert figures.samples_share == pytest.approx((2 * 64 + 18 * 10) / (20 * 64))
    assert figures.makespan_share == pytest.approx(128 / (20 * 64 / 2))
    assert figures.regret == pytest.approx(0.2)
    assert figures.regret_noise == pytest.approx(4.0)
    assert figures.regret_spread == pytest.approx(0.4)
    assert figures.rank == 3
    assert figures.top_1_kept == 0
    assert figures.top_decile_kept == figures.false_stop_top_decile == 0.5
    assert figures.false_stop_rate == pytest.approx(1 / 18)
    assert figures.false_stop_costly == 0.5, "t0 was stopped and is better than t2 by more than the noise"
    within = measure(recorded, replay_of(recorded, {"t1", "t2"}, "t2"), noise=0.3)
    assert within.false_stop_costly == 0


def test_figures_of_training_everything():
    recorded = falling(12)
    figures = measure(recorded, replay_of(recorded, set(names(recorded)), "t0"))
    assert (figures.samples_share, figures.regret_noise, figures.rank, figures.top_1_kept) == (1, 0, 1, 1)
    assert figures.false_stop_rate == figures.false_stop_top_decile == 0


def test_figures_follow_the_mode():
    recorded = falling(10)
    figures = measure(recorded, replay_of(recorded, {"t8"}, "t8"), objective=Objective("eval/loss", "max"))
    assert figures.regret == pytest.approx(0.1)
    assert figures.rank == 2


def test_figures_without_a_usable_choice_take_the_worst_final():
    recorded = RecordedSweep("mixed", (*falling(4).trials, trial("bad", [9, 9, 9], diverges_at=8)))
    for chosen in (None, "bad"):
        figures = measure(recorded, replay_of(recorded, {"t0"}, chosen))
        assert figures.regret == pytest.approx(0.3)
        assert figures.rank == 5


def test_figures_count_a_trial_that_a_worker_halted_by_mistake_as_stopped():
    recorded = falling(10)
    replay = replay_of(recorded, set(names(recorded)) - {"t0"}, "t1", outcome=Outcome.DIVERGED)
    figures = measure(recorded, replay)
    assert figures.false_stop_rate == figures.false_stop_top_decile == 1


def test_figures_of_exhaustive_count_a_diverged_trial_to_its_own_end():
    recorded = RecordedSweep("mixed", (*falling(4).trials, trial("bad", [9, 9, 9], diverges_at=8)))
    replay = replay_of(recorded, {"t0", "t1", "t2", "t3"}, "t0", samples=8, outcome=Outcome.DIVERGED)
    assert measure(recorded, replay).samples_share == 1


def test_figures_where_noise_is_unknown_are_not_numbers():
    recorded = falling(10)
    figures = measure(recorded, replay_of(recorded, {"t1"}, "t1"), noise=None)
    assert math.isnan(figures.regret_noise)
    assert figures.regret_spread == pytest.approx(0.2)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.data())
def test_figures_stay_in_their_ranges(count, data):
    recorded = falling(count)
    done = data.draw(st.sets(st.sampled_from(names(recorded))))
    chosen = data.draw(st.sampled_from([None, *names(recorded)]))
    figures = measure(recorded, replay_of(recorded, done, chosen))
    assert figures.regret >= 0
    assert 1 <= figures.rank <= count
    shares = (figures.top_1_kept, figures.top_decile_kept, figures.false_stop_rate, figures.false_stop_costly)
    assert all(0 <= share <= 1 for share in shares)
    assert figures.top_decile_kept == pytest.approx(1 - figures.false_stop_top_decile)
    assert figures.false_stop_costly <= figures.false_stop_top_decile
    assert (figures.rank == 1) == (figures.regret == 0)


def with_repeats(groups, name="repeats"):
    made = [
        trial(f"g{g}s{s}", [3, 2, value], learning_rate=1e-3 * (g + 1), seed=s)
        for g, values in enumerate(groups)
        for s, value in enumerate(values)
    ]
    return RecordedSweep(name, tuple(made))


def test_repeat_noise_pools_groups_of_the_better_half():
    recorded = with_repeats([(1.0, 1.2), (1.1, 1.3, 1.5), (5.0, 9.0), (6.0, 8.0)])
    # Variances 0.02 (1 degree of freedom) and 0.04 (2); the bad groups do not count.
    assert repeat_noise(recorded, LOSS) == pytest.approx(math.sqrt((0.02 + 2 * 0.04) / 3))


def test_repeat_noise_in_the_other_mode_takes_the_other_half():
    recorded = with_repeats([(1.0, 1.2), (1.1, 1.3), (5.0, 9.0), (6.0, 8.0)])
    assert repeat_noise(recorded, Objective("eval/loss", "max")) == pytest.approx(math.sqrt((8 + 2) / 2))


def test_repeat_noise_needs_repeats_that_differ():
    assert repeat_noise(falling(8), LOSS) is None
    assert repeat_noise(with_repeats([(1.0, 1.0), (2.0, 3.0), (4.0,)]), LOSS) is None


def test_repeat_noise_does_not_mix_cohorts_or_options():
    two = [trial(f"t{n}", [3, 2, 1 + n], r=8 * (n + 1), seed=n) for n in range(4)]
    assert repeat_noise(RecordedSweep("options", tuple(two)), LOSS) is None


def test_noise_of_a_sweep_without_repeats_is_estimated_from_the_others():
    repeated, single = with_repeats([(1.0, 1.2), (1.4, 1.6), (3.0, 5.0)]), falling(9)
    found = noise_of([repeated, single], LOSS)
    own = found["repeats"]
    assert own.source == "measured"
    assert found["falling"].source == "estimated"
    assert found["falling"].deviation == pytest.approx(own.deviation / own.spread * found["falling"].spread)
    alone = noise_of([single], LOSS)["falling"]
    assert (alone.deviation, alone.source) == (None, "unknown")
    assert alone.spread == pytest.approx(0.4)


def test_finals_leave_out_what_diverged_or_breaks_a_constraint():
    recorded = RecordedSweep("mixed", (*falling(4).trials, trial("bad", [9, 9, 9], diverges_at=8)))
    bounded = Objective("eval/loss", "min", (Constraint("eval/loss", at_least=1.05),))
    assert set(finals(recorded, LOSS)) == {"t0", "t1", "t2", "t3"}
    assert set(finals(recorded, bounded)) == {"t1", "t2", "t3"}


def test_interquartile_range_of_few_values():
    assert interquartile_range([]) == interquartile_range([1.0]) == 0
    assert interquartile_range([0, 1, 2, 3, 4]) == 2


def test_bootstrap_is_repeatable_and_brackets_the_value():
    values = np.random.default_rng(0).normal(size=(5, 20))
    first, again = (Bootstrap(5, 20).estimate(values, "mean") for _ in range(2))
    assert first == again
    assert first.low < first.value < first.high
    assert first.value == pytest.approx(values.mean())


def test_bootstrap_over_sweeps_is_wider_than_over_draws_of_like_sweeps():
    random = np.random.default_rng(1)
    alike, apart = random.normal(size=(6, 30)), random.normal(size=(6, 30)) + 10 * np.arange(6)[:, None]
    widths = [(e := Bootstrap(6, 30).estimate(values, "mean")).high - e.low for values in (alike, apart)]
    assert widths[1] > 10 * widths[0]


def test_bootstrap_of_constant_or_missing_values():
    flat = Bootstrap(2, 3).estimate(np.full((2, 3), 7.0), "p95")
    assert (flat.value, flat.low, flat.high) == (7, 7, 7)
    missing = Bootstrap(2, 3).estimate(np.array([[1, 2, 3], [1, np.nan, 3]]), "median")
    assert missing.as_dict() == {"value": None, "low": None, "high": None}


def test_p95_of_twenty_draws_is_not_between_two_of_them():
    values = np.arange(20.0).reshape(1, 20)
    assert Bootstrap(1, 20).estimate(values, "p95").value == 19


def test_yardstick_measures_a_simulated_run():
    recorded = falling(8)
    run = simulate(
        recorded, EngineScheduler(StoppingPolicy((DivergenceRule(), RungRule()))), LOSS, Clock(), names(recorded), 0
    )
    figures = measure(recorded, run)
    assert figures.regret == 0
    assert 0 < figures.samples_share < 1
