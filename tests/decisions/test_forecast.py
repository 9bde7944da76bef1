"""The credible set, the weights' file, and whole cohorts compared by forecast inside the engine."""

import dataclasses
import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.engine.engine import SweepOutline
from orchestrator.decisions.engine.policy import StoppingPolicy
from orchestrator.decisions.forecast.cohort import ForecastBook, ForecastSystem
from orchestrator.decisions.forecast.forecast import RULE, credible_set, forecast, survey
from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS, load_model
from orchestrator.decisions.forecast.observation import Observation
from orchestrator.decisions.objective import Constraint, Objective
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.decisions.trials import TrialFacts, TrialProgress
from orchestrator.errors import SpecError
from orchestrator.records import Action, Outcome, TrialState
from tests.worlds.engines import RememberingEngine, observe

LEVELS = (32, 64, 128, 1024)
POLICY = StoppingPolicy((RungRule(), ForecastRule()))
MODEL = load_model(SHIPPED_WEIGHTS)
means = st.lists(st.floats(0, 4), min_size=1, max_size=40)


def chosen(values, deviation, miss, tolerance=0.0):
    return credible_set(np.array(values), np.full(len(values), deviation), miss, tolerance)


def forecasts(observations, levels=(32, 64), ends=None):
    return forecast(survey(observations, levels, 1024, MODEL), ForecastRule(), ends)


@given(means, st.floats(0.01, 1.0), st.floats(0.01, 0.5))
def test_credible_set_holds_the_likeliest_and_enough_probability(values, deviation, miss):
    found = chosen(values, deviation, miss)
    probability, keeps = found.wins, found.keeps
    assert probability.sum() == pytest.approx(1)
    assert keeps[probability.argmax()]
    assert probability[keeps].sum() >= 1 - miss
    assert probability[keeps].min() >= probability[~keeps].max(initial=0.0)


@given(means, st.floats(0.01, 1.0))
def test_a_smaller_tolerated_miss_never_stops_more(values, deviation):
    sure = chosen(values, deviation, 0.01).keeps
    bold = chosen(values, deviation, 0.3).keeps
    assert (sure | ~bold).all()


@given(means, st.floats(0.01, 1.0))
def test_a_tolerated_regret_never_keeps_more(values, deviation):
    strict = chosen(values, deviation, 0.05).keeps
    lax = chosen(values, deviation, 0.05, tolerance=0.5).keeps
    assert lax.sum() <= strict.sum()


def test_where_the_forecast_is_sure_one_goes_on_and_where_it_is_not_many():
    values = np.linspace(0, 4, 20)
    assert chosen(values, 0.02, 0.05).keeps.sum() == 1
    assert chosen(values, 1.0, 0.05).keeps.sum() > 5


def test_forecast_does_not_depend_on_the_order_of_the_trials():
    observations = [Observation(f"t{i}", "full", 1e-3 * (i + 1), 16, (3.0 + i, 2.0 + i), {}) for i in range(8)]
    turned = forecasts(observations[::-1])
    assert forecasts(observations) == turned
    first = turned["t0"]
    assert first.low < first.expected < first.high
    assert first.best_expected == min(each.expected for each in turned.values())


@given(st.lists(st.floats(0.1, 9), min_size=4, max_size=12, unique=True), st.floats(0, 5))
def test_bands_hold_the_expected_value_and_never_reach_below_0_where_no_objective_does(now, fall):
    observations = [Observation(f"t{i}", "full", 1e-3, 16, (value + fall, value)) for i, value in enumerate(now)]
    for each in forecasts(observations).values():
        assert 0 <= each.low <= each.expected <= each.high
        assert each.high > each.low


def test_a_faster_fall_is_expected_to_lead_farther():
    slow, fast = (
        forecasts([Observation(f"t{i}", "full", 1e-3, 16, (4.0 + i + fall, 4.0 + i)) for i in range(5)])
        for fall in (0.1, 1.0)
    )
    assert fast["t0"].best_expected < slow["t0"].best_expected


def test_a_known_end_is_sure_and_its_improvement_certain():
    found = credible_set(np.array([0.5, 1.0, 2.0]), np.array([0.0, 0.0, 0.0]), 0.05)
    assert found.wins.tolist() == [1, 0, 0]
    assert found.keeps.tolist() == [True, False, False]
    assert found.improvement.tolist() == [0.5, 0, 0]


@given(means, st.floats(0.01, 1.0))
def test_who_is_expected_to_end_best_improves_most(values, deviation):
    found = chosen(values, deviation, 0.05)
    assert (found.improvement >= 0).all()
    # Two of a kind differ by what 1,024 draws leave to chance.
    assert found.improvement[np.argmin(values)] >= found.improvement.max() - 0.12 * deviation


SEEN = [Observation(f"t{i}", "full", 1e-4 * 2**i, 16, (3.0 + i / 4, 2.0 + i / 4)) for i in range(8)]


def test_completed_trials_say_where_the_others_will_land():
    before = forecasts(SEEN)
    ends = {f"t{i}": before[f"t{i}"].expected + 0.5 for i in (0, 1, 4)}
    after = forecasts(SEEN, ends=ends)
    for name, end in ends.items():
        assert after[name].expected == after[name].low == after[name].high == end
    for name in ("t2", "t3", "t5"):
        assert before[name].expected < after[name].expected
        assert abs(after[name].expected - before[name].expected - 0.5) < 0.25
        assert after[name].high - after[name].low < before[name].high - before[name].low


def test_a_recipe_beside_one_that_ended_worse_than_forecast_is_expected_to_end_worse():
    before = forecasts(SEEN)
    as_said = {name: before[name].expected for name in ("t0", "t3", "t7")}
    worse = forecasts(SEEN, ends={**as_said, "t3": before["t6"].expected})
    usual = forecasts(SEEN, ends=as_said)
    assert worse["t2"].probability < usual["t2"].probability
    assert worse["t4"].expected > usual["t4"].expected


def test_an_end_far_below_the_others_leaves_only_its_neighbours_a_chance():
    before = forecasts(SEEN)
    as_said = {name: before[name].expected for name in ("t3", "t4", "t6", "t7")}
    after = forecasts(SEEN, ends={**as_said, "t0": before["t0"].expected / 4})
    assert after["t0"].probability > max(before["t0"].probability, 0.5)
    assert {name for name, each in after.items() if each.keeps} <= {"t0", "t1", "t2"}


def test_what_has_not_ended_with_a_number_teaches_nothing():
    assert forecasts(SEEN, ends={"t0": math.inf, "not among them": 1.0}) == forecasts(SEEN)


def test_where_rows_are_seen_again_other_weights_hold():
    once, seldom, often = (survey(SEEN, (32, 64), 1024, MODEL, epochs=epochs) for epochs in (1.0, 0.2, 12.0))
    np.testing.assert_array_equal(seldom.mean, once.mean)
    assert seldom.deviation == once.deviation
    np.testing.assert_array_equal(often.mean, MODEL.repeated.mean(often.panel))
    assert np.abs(often.mean - once.mean).max() > 0.01
    # Early leaders may over-fit: less is certain.
    assert often.deviation > once.deviation
    whole = replace(MODEL, repeated=None)
    np.testing.assert_array_equal(survey(SEEN, (32, 64), 1024, whole, epochs=1.0).mean, once.mean)


@pytest.mark.parametrize(
    ("field", "value"),
    [("miss", 0.0), ("miss", 1.0), ("tolerance", -1.0), ("tolerance", math.nan)],
)
def test_parameters_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ForecastRule(**{field: value})


@pytest.mark.parametrize("epochs", [0.0, math.inf])
def test_epochs_are_a_number_above_zero(epochs):
    with pytest.raises(ValueError, match="epochs"):
        SweepOutline(LEVELS, Objective("eval/loss"), epochs)


def test_shipped_weights_round_trip(tmp_path):
    model = load_model(SHIPPED_WEIGHTS)
    assert len(model.sweeps) >= 2
    assert model.repeated is not None
    copy = tmp_path / "weights.npz"
    model.save(copy)
    assert load_model(copy) == model


def rewritten(path, **changes):
    """Write the shipped weights with some entries changed."""
    with np.load(SHIPPED_WEIGHTS) as file:
        entries = {name: file[name] for name in file.files}
    np.savez(path, **{**entries, **changes})
    return path


def test_weights_of_another_version_or_damaged_or_no_file_are_refused(tmp_path):
    with np.load(SHIPPED_WEIGHTS) as file:
        about, left = json.loads(str(file["about"])), file["repeated.left"]
    stale = rewritten(tmp_path / "stale.npz", about=np.array(json.dumps({**about, "columns": about["columns"][1:]})))
    circle = rewritten(tmp_path / "circle.npz", **{"repeated.left": np.zeros_like(left)})
    fewer = {**about, "once": {**about["once"], "line": [1.0]}}
    short = rewritten(tmp_path / "short.npz", about=np.array(json.dumps(fewer)))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, about=np.array({"format": 2}, dtype=object))
    text = tmp_path / "text.npz"
    text.write_text("{}")
    cases = [
        (stale, "another version"),
        (circle, "damaged"),
        (short, "damaged"),
        (pickled, "cannot be read"),
        (text, "cannot be read"),
        (tmp_path / "none.npz", "cannot be read"),
    ]
    for file, words in cases:
        with pytest.raises(SpecError, match=words) as caught:
            load_model(file)
        assert "fit-forecast" in str(caught.value)


# -- in the engine -------------------------------------------------------------------------------------------------


def facts(index, *, method="full", batch=16):
    return TrialFacts(f"t{index:03d}", "c", method, 1e-4 * 1.3**index, batch)


def curve(index, level):
    """Falls with the samples; a lower index ends lower, and the highest end hopelessly far away."""
    return 1.0 + 0.02 * 3.0**index + 3.0 / math.sqrt(level)


def engine_of(trials, policy=POLICY, objective=None):
    engine = RememberingEngine(policy, SweepOutline(LEVELS, objective or Objective("eval/loss")))
    for trial in trials:
        engine.add_trial(trial)
    engine.close_arrivals()
    return engine


def drive(engine, order, score=curve, key="eval/loss"):
    """Train every trial to its next milestone in the given order, settle, until nothing can go on; one slot is never idle."""
    at = dict.fromkeys(order, 0)
    while at:
        for index in [i for i in order if i in at]:
            trial_id, level = f"t{index:03d}", LEVELS[at[index]]
            scores = score(index, level) if isinstance(score(index, level), dict) else {key: score(index, level)}
            observe(engine, trial_id, at[index], level, scores)
        engine.settle(0, 0)
        at = {i: at[i] + 1 for i in at if engine.outcome(f"t{i:03d}") in (Outcome.RUNNING, Outcome.PENDING)}
    return {trial_id: trial.outcome for trial_id, trial in engine.trials.items()}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 24), st.randoms(use_true_random=False))
def test_decisions_do_not_depend_on_who_comes_first(count, shuffler):
    order = list(range(count))
    first = drive(engine_of([facts(i) for i in range(count)]), order)
    shuffler.shuffle(order)
    assert drive(engine_of([facts(i) for i in range(count)]), order) == first
    assert first["t000"] is Outcome.COMPLETED


def test_all_wait_until_everybody_has_come_and_the_hopeless_stop_with_numbers():
    engine = engine_of([facts(i) for i in range(12)])
    for index in range(11):
        decision = observe(engine, f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
        assert decision.action is Action.PAUSE
        assert engine.settle(0, 1) == []
    last = observe(engine, "t011", 0, 32, {"eval/loss": curve(11, 32)})
    assert last.action is Action.STOP
    assert last.rule == RULE
    assert "ends best with probability" in last.reason
    assert last.evidence["expected_low"] < last.evidence["expected_final"] < last.evidence["expected_high"]
    assert last.evidence["best_expected_final"] < last.evidence["expected_final"]
    assert last.evidence["probability_best"] < 0.05
    stopped = [decision for decision in engine.settle(0, 0) if decision.action is Action.STOP]
    assert 2 <= len(stopped) <= 10


def test_not_a_number_stops_at_once_and_takes_no_part():
    engine = engine_of([facts(i) for i in range(5)])
    assert observe(engine, "t004", 0, 32, {"eval/loss": math.nan}).action is Action.STOP
    for index in range(4):
        observe(engine, f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t000") is Outcome.RUNNING


def test_a_diverged_trial_does_not_hold_the_others_up():
    engine = engine_of([facts(i) for i in range(5)])
    observe(engine, "t004", 0, 17, {}, (), TrialState.DIVERGED)
    for index in range(4):
        observe(engine, f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t000") is Outcome.RUNNING


def test_an_idle_slot_takes_the_likeliest_before_all_have_come():
    engine = engine_of([facts(i) for i in range(6)])
    for index in (3, 0, 5, 1):
        observe(engine, f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    (decision,) = engine.settle(1, 0)
    assert decision.trial_id == "t000"
    assert decision.action is Action.CONTINUE
    assert "idle" in decision.reason


def test_what_waits_is_offered_for_its_improvement_per_sample():
    book = ForecastBook(ForecastRule(), LEVELS[:3], LEVELS[-1])
    system = ForecastSystem("c", [(i, level, None) for i, level in enumerate(LEVELS[:3])], 0, 0, book)
    for index in range(5):
        trial = TrialProgress(facts(index))
        system.add(trial.facts.trial_id, "full", trial.facts.learning_rate)
        for rung in range(3 if index < 2 else 2 if index < 4 else 1):
            if rung:
                system.settle(trial.facts.trial_id, promote=True)
            key = (0.0, 2.0 - 0.3 * rung + 0.001 * index)
            system.arrive(trial.facts.trial_id, rung, key)
            system.note(trial, rung, key)
    for rung, samples in ((1, 64), (2, 896)):
        worth, verdict = system.idle_candidate(rung)
        assert verdict.entry.trial_id in {1: ("t002", "t003"), 2: ("t000", "t001")}[rung]
        assert -worth == pytest.approx(system.forecasts(rung)[verdict.entry.trial_id].improvement / samples)


def test_trials_that_come_later_are_held_against_what_the_first_have_come_to():
    """The second wave looks like the first at its first milestone; the first has shown how far below it trials end."""

    def expected_of_the_second(first):
        engine = engine_of([facts(i) for i in first])
        drive(engine, list(first), lambda i, n: curve(i, 32) - 0.05 * math.log2(n / 32))
        for index in range(4):
            trial_id = f"again{index}"
            engine.add_trial(dataclasses.replace(facts(index), trial_id=trial_id, seed=1))
            observe(engine, trial_id, 0, 32, {"eval/loss": curve(index, 32)})
        engine.settle(0, 0)
        (verdict,) = [
            each for each in engine.decisions if each.trial_id == "again0" and each.action is not Action.PAUSE
        ]
        return verdict.evidence["expected_final"]

    came = curve(0, 32) - 0.05 * math.log2(1024 / 32)
    alone, taught = expected_of_the_second(range(0)), expected_of_the_second(range(6))
    assert abs(taught - came) < 0.5 * abs(alone - came)


def test_best_of_a_method_goes_on_until_its_rate_is_bracketed():
    trials = [facts(i) for i in range(8)] + [facts(8, method="lora")]
    engine = engine_of(trials)
    for index in range(9):
        observe(engine, f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t008") is Outcome.RUNNING
    without = StoppingPolicy((RungRule(quota_per_method=0), ForecastRule()))
    engine = engine_of(trials, without)
    for index in range(9):
        observe(engine, f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t008") is Outcome.STOPPED


def test_mode_max_is_the_mirror_image():
    trials = [facts(i) for i in range(10)]
    down = drive(engine_of(trials), list(range(10)))
    up = drive(engine_of(trials, objective=Objective("acc", "max")), list(range(10)), lambda i, n: -curve(i, n), "acc")
    assert up == down


def test_trials_that_break_a_constraint_rank_behind_those_that_keep_it():
    objective = Objective("eval/loss", constraints=(Constraint("general/forgetting", at_most=0.1),))

    def scores(index, level):
        return {"eval/loss": curve(index, level), "general/forgetting": 0.5 if index == 0 else 0.0}

    outcomes = drive(engine_of([facts(i) for i in range(8)], objective=objective), list(range(8)), scores)
    assert outcomes["t001"] is Outcome.COMPLETED
    assert outcomes["t000"] is Outcome.STOPPED


def test_repeated_calls_lead_to_the_same_state():
    engine = engine_of([facts(i) for i in range(10)])
    shuffled = list(range(10))
    random.Random(3).shuffle(shuffled)
    drive(engine, shuffled)
    again = RememberingEngine.told(POLICY, engine.sweep, engine.calls)
    assert again.decisions == engine.decisions
    assert {i: t.outcome for i, t in again.trials.items()} == {i: t.outcome for i, t in engine.trials.items()}
