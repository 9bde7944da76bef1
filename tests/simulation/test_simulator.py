"""Simulated workers: order, time, overshoot, divergence, pauses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.records import Action, Outcome
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, simulate
from orchestrator.simulation.engine.trial_course import halt_of
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep
from tests.worlds.replay_worlds import BUDGET, LEVELS, LOSS, Scripted, falling, names, sweep, trial


def test_simulate_one_worker_trains_in_order_and_charges_time():
    recorded = falling(3)
    scheduler = Scripted()
    run = simulate(recorded, scheduler, LOSS, Clock(1, startup_seconds=5, evaluation_seconds=2), ["t2", "t0", "t1"], 0)
    assert [(a.trial_id, a.level_index) for a in scheduler.heard] == [
        (name, level) for name in ("t2", "t0", "t1") for level in range(3)
    ]
    assert run.makespan_seconds == 3 * (5 + 64 + 3 * 2)
    assert run.samples_total == 3 * BUDGET
    assert run.chosen == "t0"
    assert set(run.outcomes.values()) == {Outcome.COMPLETED}


def test_simulate_stopped_trial_is_charged_up_to_its_milestone():
    run = simulate(falling(2), Scripted({("t0", 1): Action.STOP}), LOSS, Clock(), ["t0", "t1"], 0)
    assert run.samples_trained == {"t0": 32, "t1": 64}
    assert run.outcomes == {"t0": Outcome.STOPPED, "t1": Outcome.COMPLETED}
    stop = next(each for each in run.decisions if each.action is Action.STOP)
    assert (stop.seconds, stop.trial_id, stop.samples_seen) == (32.0, "t0", 32)
    assert run.chosen == "t1"


def test_simulate_large_batch_overshoots_and_reaches_several_levels_at_once():
    recorded = RecordedSweep("mixed", (trial("small", [3, 2, 1]), trial("large", [3, 2, 1], batch=48)))
    scheduler = Scripted({("large", 1): Action.STOP})
    run = simulate(recorded, scheduler, LOSS, Clock(), ["large", "small"], 0)
    large = [(a.level_index, a.samples_seen, len(a.signals)) for a in scheduler.heard if a.trial_id == "large"]
    assert large == [(0, 48, 1), (1, 48, 0)]
    assert run.samples_trained == {"large": 48, "small": 64}
    assert recorded.levels == LEVELS


def test_simulate_batch_of_the_whole_budget_completes_at_its_first_report():
    recorded = RecordedSweep("mixed", (trial("small", [3, 2, 1]), trial("whole", [0.5], batch=64, levels=(64,))))
    scheduler = Scripted()
    run = simulate(recorded, scheduler, LOSS, Clock(), ["whole", "small"], 0)
    assert [(a.level_index, a.completed) for a in scheduler.heard if a.trial_id == "whole"] == [(0, True)]
    assert run.chosen == "whole"


def test_simulate_tells_of_a_recorded_divergence_at_the_last_sample():
    recorded = RecordedSweep("mixed", (trial("good", [3, 2, 1]), trial("bad", [3, 2, 1], diverges_at=40)))
    scheduler = Scripted()
    run = simulate(recorded, scheduler, LOSS, Clock(1, 0, 10), ["bad", "good"], 0)
    last = [a for a in scheduler.heard if a.trial_id == "bad"][-1]
    assert (last.level_index, last.samples_seen, last.diverged, dict(last.scores)) == (2, 40, True, {})
    assert run.samples_trained["bad"] == 40
    assert run.outcomes["bad"] is Outcome.DIVERGED
    assert run.makespan_seconds == 40 + 64 + 10 * (2 + 3), "nothing is evaluated where a trial diverged"


def test_simulate_divergence_on_the_step_that_reaches_a_level_is_no_milestone():
    recorded = RecordedSweep("mixed", (trial("good", [3, 2, 1]), trial("bad", [3, 2, 1], diverges_at=32)))
    scheduler = Scripted()
    simulate(recorded, scheduler, LOSS, Clock(), ["bad", "good"], 0)
    assert [(a.level_index, a.diverged) for a in scheduler.heard if a.trial_id == "bad"] == [(0, False), (1, True)]


def test_simulate_promoted_trial_goes_before_fresh_ones_and_pays_for_its_start():
    scheduler = Scripted({("t0", 0): Action.PAUSE})
    # The first question after t0's arrival gets no answer; the one after t1's first milestone promotes t0.
    scheduler.verdicts = [[], [], [("t0", Action.CONTINUE)]]
    scheduler.answers = {**scheduler.answers, ("t1", 0): Action.STOP}
    run = simulate(falling(3), scheduler, LOSS, Clock(1, startup_seconds=7), ["t0", "t1", "t2"], 0)
    assert [a.trial_id for a in scheduler.heard] == ["t0", "t1", "t0", "t0", "t2", "t2", "t2"]
    assert run.makespan_seconds == 4 * 7 + 64 + 16 + 64


def test_simulate_trial_promoted_by_its_own_arrival_does_not_leave_its_worker():
    scheduler = Scripted({("t0", 0): Action.PAUSE})
    scheduler.verdicts = [[("t0", Action.CONTINUE)]]
    run = simulate(falling(2), scheduler, LOSS, Clock(1, startup_seconds=7), ["t0", "t1"], 0)
    assert run.makespan_seconds == 2 * 7 + 2 * 64
    assert [a.trial_id for a in scheduler.heard] == ["t0"] * 3 + ["t1"] * 3


def test_simulate_trial_left_paused_counts_as_stopped():
    scheduler = Scripted({("t0", 0): Action.PAUSE})
    run = simulate(falling(2), scheduler, LOSS, Clock(2), ["t0", "t1"], 0)
    assert run.outcomes["t0"] is Outcome.STOPPED
    assert run.samples_trained["t0"] == 16


def test_simulate_refuses_verdicts_on_a_trial_that_does_not_wait():
    scheduler = Scripted()
    scheduler.verdicts = [[("t0", Action.STOP)]]
    with pytest.raises(ValueError, match="does not wait"):
        simulate(falling(2), scheduler, LOSS, Clock(), ["t0", "t1"], 0)


def test_simulate_refuses_an_order_that_is_no_permutation():
    with pytest.raises(ValueError, match="order must name each"):
        simulate(falling(2), Scripted(), LOSS, Clock(), ["t0", "t0"], 0)


def test_simulate_without_winner_takes_the_best_of_those_that_went_farthest():
    stops = {("t0", 0): Action.STOP, ("t1", 1): Action.STOP, ("t2", 1): Action.STOP}
    run = simulate(falling(3), Scripted(stops), LOSS, Clock(), ["t2", "t1", "t0"], 0)
    assert run.chosen == "t1"


def test_clock_refuses_impossible_costs():
    with pytest.raises(ValueError, match="workers"):
        Clock(0)
    with pytest.raises(ValueError, match="costs"):
        Clock(1, -1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.randoms(use_true_random=False), st.data())
def test_simulate_any_scheduler_ends_and_never_uses_more_than_its_workers(workers, random, data):
    recorded = falling(6)
    answers = {
        (name, level): data.draw(st.sampled_from(list(Action))) for name in names(recorded) for level in range(3)
    }
    order = names(recorded)
    random.shuffle(order)
    scheduler = Scripted(answers)
    run = simulate(recorded, scheduler, LOSS, Clock(workers), order, 0)
    assert all(0 <= idle <= workers for idle, _ in scheduler.asked)
    times = [each.seconds for each in run.decisions]
    assert times == sorted(times)
    ended = {Outcome.COMPLETED, Outcome.STOPPED}
    assert set(run.outcomes) == set(order)
    assert set(run.outcomes.values()) <= ended
    # Work is neither lost nor done twice: one sample takes one second here.
    assert run.samples_total / workers <= run.makespan_seconds <= run.samples_total
    assert all((run.samples_trained[name] == BUDGET) == (run.outcomes[name] is Outcome.COMPLETED) for name in order)


def test_engine_scheduler_halts_a_trial_that_blows_up_but_stays_finite():
    losses = [2.0, 2.0, 2.0, 2.0, 90.0, 90.0, 90.0, 90.0]
    recorded = RecordedSweep(
        "mixed", (trial("good", [3, 2, 1]), trial("other", [3, 2, 1.5]), trial("bad", [3, 2, 90], losses=losses))
    )
    scheduler = EngineScheduler(StoppingPolicy((DivergenceRule(), RungRule())))
    run = simulate(recorded, scheduler, LOSS, Clock(), ["bad", "good", "other"], 0)
    assert run.outcomes["bad"] is Outcome.DIVERGED
    assert run.samples_trained["bad"] == 40
    decision = next(each for each in scheduler.engine.decisions if each.trial_id == "bad" and each.rule == "divergence")
    assert "smoothed loss" in decision.reason
    plain = simulate(recorded, Scripted(), LOSS, Clock(), names(recorded), 0)
    assert plain.samples_trained["bad"] == BUDGET, "a scheduler without a worker rule trains it to its end"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 60), st.floats(1, 400))
def test_course_halts_exactly_where_a_watch_at_every_step_does(seed, loss_jump, norm_jump):
    """The quick bounds that skip most trials never hide a halt."""
    random = np.random.default_rng(seed)
    levels = (160, 320)
    losses, norms = 2 + random.normal(0, 0.3, 40), random.lognormal(0, 0.5, 40)
    start, long = random.integers(40), random.integers(1, 6)
    losses[start : start + long] += loss_jump
    norms[start : start + long] *= norm_jump
    recorded = trial("one", [2, 1], levels=levels, losses=losses, norms=norms)
    rule = DivergenceRule(warm_up_steps=4)
    watch = rule.watch("one")
    expected = next((found for s in recorded.signals_between(0, 320) if (found := watch(s)) is not None), None)
    assert halt_of(recorded, rule) == expected


def test_engine_scheduler_chooses_as_the_engine_and_is_repeatable():
    recorded = falling(8)
    runs = [
        simulate(
            recorded,
            EngineScheduler(StoppingPolicy((DivergenceRule(), RungRule()))),
            LOSS,
            Clock(2),
            names(recorded),
            0,
        )
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0].chosen == "t0"
    assert runs[0].samples_total < 8 * BUDGET


def test_engine_scheduler_before_begin_has_no_engine():
    with pytest.raises(RuntimeError, match="has not begun"):
        EngineScheduler(StoppingPolicy((DivergenceRule(), RungRule()))).settle(1, 0)


def test_large_synthetic_sweep_reaches_the_engine_whole():
    recorded = synthetic_sweep(2_000, 0)
    run = simulate(
        recorded, EngineScheduler(StoppingPolicy((DivergenceRule(), RungRule()))), LOSS, Clock(64), names(recorded), 0
    )
    assert all(samples > 0 for samples in run.samples_trained.values())
    assert run.samples_total < 0.3 * sum(each.samples_trained for each in recorded.trials)


def test_scores_of_the_final_milestone_include_metrics_measured_at_the_end():
    made = sweep({"a": [3, 2, 1], "b": [3, 2, 2]})
    late = trial("c", [3, 2, 1])
    recorded = RecordedSweep("late", (*made.trials, replace(late, final={"eval/loss": 1, "quiz": 0.5})))
    scheduler = Scripted()
    simulate(recorded, scheduler, LOSS, Clock(), ["c", "a", "b"], 0)
    assert [dict(a.scores) for a in scheduler.heard if a.trial_id == "c"][-1] == {"eval/loss": 1, "quiz": 0.5}
