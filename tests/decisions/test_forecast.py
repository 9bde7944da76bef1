"""The credible set, the weights' file, and whole cohorts compared by forecast inside the engine."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.engine import StoppingEngine
from orchestrator.decisions.forecast import RULE, ForecastRule, credible_set, forecast
from orchestrator.decisions.forecast_model import SHIPPED_WEIGHTS, load_model
from orchestrator.decisions.objective import Constraint, Objective
from orchestrator.decisions.policy import StoppingPolicy
from orchestrator.decisions.sighting import Sighting
from orchestrator.decisions.trials import TrialFacts
from orchestrator.errors import SpecError
from orchestrator.records import Action, Outcome, TrialState

LEVELS = (32, 64, 128, 1024)
POLICY = StoppingPolicy(forecast=ForecastRule(enabled=True))
means = st.lists(st.floats(0, 4), min_size=1, max_size=40)


@given(means, st.floats(0.01, 1.0), st.floats(0.01, 0.5))
def test_credible_set_holds_the_likeliest_and_enough_probability(values, deviation, miss):
    probability, keeps = credible_set(np.array(values), deviation, miss)
    assert probability.sum() == pytest.approx(1)
    assert keeps[probability.argmax()]
    assert probability[keeps].sum() >= 1 - miss
    assert probability[keeps].min() >= probability[~keeps].max(initial=0.0)


@given(means, st.floats(0.01, 1.0))
def test_a_smaller_tolerated_miss_never_stops_more(values, deviation):
    sure = credible_set(np.array(values), deviation, 0.01)[1]
    bold = credible_set(np.array(values), deviation, 0.3)[1]
    assert (sure | ~bold).all()


@given(means, st.floats(0.01, 1.0))
def test_a_tolerated_regret_never_keeps_more(values, deviation):
    strict = credible_set(np.array(values), deviation, 0.05)[1]
    lax = credible_set(np.array(values), deviation, 0.05, tolerance=0.5)[1]
    assert lax.sum() <= strict.sum()


def test_where_the_forecast_is_sure_one_goes_on_and_where_it_is_not_many():
    values = np.linspace(0, 4, 20)
    assert credible_set(values, 0.02, 0.05)[1].sum() == 1
    assert credible_set(values, 1.0, 0.05)[1].sum() > 5


def test_forecast_does_not_depend_on_the_order_of_the_trials():
    sightings = [Sighting(f"t{i}", "full", 1e-3 * (i + 1), 16, (3.0 + i, 2.0 + i), {}) for i in range(8)]
    turned = forecast(sightings[::-1], (32, 64), 1024, ForecastRule())
    assert forecast(sightings, (32, 64), 1024, ForecastRule()) == turned
    first = turned["t0"]
    assert first.low < first.expected < first.high
    assert first.best_expected == min(each.expected for each in turned.values())


@given(st.lists(st.floats(0.1, 9), min_size=4, max_size=12, unique=True), st.floats(0, 5))
def test_bands_hold_the_expected_value_and_never_reach_below_0_where_no_objective_does(now, fall):
    sightings = [Sighting(f"t{i}", "full", 1e-3, 16, (value + fall, value)) for i, value in enumerate(now)]
    for each in forecast(sightings, (32, 64), 1024, ForecastRule()).values():
        assert 0 <= each.low <= each.expected <= each.high
        assert each.high > each.low


def test_a_faster_fall_is_expected_to_lead_farther():
    slow, fast = (
        forecast([Sighting(f"t{i}", "full", 1e-3, 16, (4.0 + i + fall, 4.0 + i)) for i in range(5)], (32, 64), 1024, ForecastRule())
        for fall in (0.1, 1.0)
    )  # fmt: skip
    assert fast["t0"].best_expected < slow["t0"].best_expected


@pytest.mark.parametrize(
    ("field", "value"), [("miss", 0.0), ("miss", 1.0), ("tolerance", -1.0), ("tolerance", math.nan)]
)
def test_parameters_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ForecastRule(**{field: value})


def test_shipped_weights_round_trip(tmp_path):
    model = load_model(SHIPPED_WEIGHTS)
    assert len(model.sweeps) >= 2
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
        about, left = json.loads(str(file["about"])), file["left"]
    stale = rewritten(tmp_path / "stale.npz", about=np.array(json.dumps({**about, "columns": about["columns"][1:]})))
    circle = rewritten(tmp_path / "circle.npz", left=np.zeros_like(left))
    short = rewritten(tmp_path / "short.npz", about=np.array(json.dumps({**about, "line": [1.0]})))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, about=np.array({"format": 2}, dtype=object))
    text = tmp_path / "text.npz"
    text.write_text("{}")
    cases = [(stale, "another version"), (circle, "damaged"), (short, "damaged"), (pickled, "cannot be read"),
             (text, "cannot be read"), (tmp_path / "none.npz", "cannot be read")]  # fmt: skip
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
    engine = StoppingEngine(policy, LEVELS, objective or Objective("eval/loss"))
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
            engine.observe(trial_id, at[index], level, scores)
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
        decision = engine.observe(f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
        assert decision.action is Action.PAUSE
        assert engine.settle(0, 1) == []
    last = engine.observe("t011", 0, 32, {"eval/loss": curve(11, 32)})
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
    assert engine.observe("t004", 0, 32, {"eval/loss": math.nan}).action is Action.STOP
    for index in range(4):
        engine.observe(f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t000") is Outcome.RUNNING


def test_a_diverged_trial_does_not_hold_the_others_up():
    engine = engine_of([facts(i) for i in range(5)])
    engine.observe("t004", 0, 17, {}, None, TrialState.DIVERGED)
    for index in range(4):
        engine.observe(f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t000") is Outcome.RUNNING


def test_an_idle_slot_takes_the_likeliest_before_all_have_come():
    engine = engine_of([facts(i) for i in range(6)])
    for index in (3, 0, 5, 1):
        engine.observe(f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    (decision,) = engine.settle(1, 0)
    assert decision.trial_id == "t000"
    assert decision.action is Action.CONTINUE
    assert "idle" in decision.reason


def test_best_of_a_method_goes_on_until_its_rate_is_bracketed():
    trials = [facts(i) for i in range(8)] + [facts(8, method="lora")]
    engine = engine_of(trials)
    for index in range(9):
        engine.observe(f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
    engine.settle(0, 0)
    assert engine.outcome("t008") is Outcome.RUNNING
    without = dataclasses.replace(POLICY, rungs=dataclasses.replace(POLICY.rungs, quota_per_method=0))
    engine = engine_of(trials, without)
    for index in range(9):
        engine.observe(f"t{index:03d}", 0, 32, {"eval/loss": curve(index, 32)})
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


def test_replayed_events_lead_to_the_same_state():
    engine = engine_of([facts(i) for i in range(10)])
    shuffled = list(range(10))
    random.Random(3).shuffle(shuffled)
    drive(engine, shuffled)
    again = StoppingEngine.replay(POLICY, LEVELS, Objective("eval/loss"), json.loads(json.dumps(engine.events)))
    assert again.decisions == engine.decisions
    assert {i: t.outcome for i, t in again.trials.items()} == {i: t.outcome for i, t in engine.trials.items()}
