import json
import math
import random
import time
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.engine.engine import StoppingEngine, StoppingPolicy, SweepOutline, TrialFacts
from orchestrator.decisions.objective import Constraint, Objective
from orchestrator.decisions.rules.divergence import DivergenceRule
from orchestrator.decisions.rules.early_dynamics import EarlyDynamicsRule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.decisions.trials import Answer, ObservedMilestone
from orchestrator.errors import SpecError
from orchestrator.records import Action, Decision, Outcome, TrainingSignal, TrialState
from tests.worlds.engines import RememberingEngine, observe

LEVELS = (128, 256, 512, 1024)
OBJECTIVE = Objective("eval/loss")


def facts(trial_id, *, cohort="c", method="full", rate=1e-4, batch=32):
    return TrialFacts(trial_id, cohort, method, rate, batch)


def new_engine(trials, *, closed=True, policy=None, objective=OBJECTIVE, levels=LEVELS):
    engine = RememberingEngine(policy or only_rungs(), SweepOutline(levels, objective))
    for trial in trials:
        engine.add_trial(trial)
    if closed:
        engine.close_arrivals()
    return engine


def crowd(count, *, method="full", cohort="c"):
    return [facts(f"t{i:03d}", method=method, cohort=cohort, rate=1e-5 * 1.1**i) for i in range(count)]


def only_rungs(**parameters):
    return StoppingPolicy((DivergenceRule(), RungRule(**parameters)))


def signals(level, previous, loss, norm, batch=32):
    steps = range(previous + batch, level + 1, batch)
    return [TrainingSignal(i, seen, seen, loss, loss, norm, 1e-4, 1.0, 1.0) for i, seen in enumerate(steps, 1)]


class Sweep:
    """Drives an engine as an adapter does: slots that train one milestone at a time, in a random order of finishing."""

    def __init__(self, engine, score, *, slots=2, seed=0, diverges=lambda trial_id, level: False, greedy=True):
        self.engine, self.score, self.slots, self.diverges, self.greedy = engine, score, slots, diverges, greedy
        self.random = random.Random(seed)
        self.queue = deque((trial_id, 0) for trial_id in engine.trials)
        self.running = []
        self.made = []
        self.watch = lambda: True

    def run(self):
        while True:
            self._fill()
            if not self.running:
                return self
            trial_id, level = self.running.pop(self.random.randrange(len(self.running)))
            self._finish(trial_id, level)
            idle = self.slots - len(self.running) if self.greedy else 0
            self._take(self.engine.settle(idle, len(self.queue)))
            if not self.running and not self.queue:
                self._take(self.engine.settle(self.slots, 0))

    def _fill(self):
        while self.queue and len(self.running) < self.slots:
            self.running.append(self.queue.popleft())
        assert not self.running or self.watch()

    def _finish(self, trial_id, level):
        if self.diverges(trial_id, level):
            decision = observe(self.engine, trial_id, level, LEVELS[level] - 7, {}, (), TrialState.DIVERGED)
        else:
            scores = {"eval/loss": self.score(trial_id, level)}
            decision = observe(self.engine, trial_id, level, LEVELS[level], scores)
        self._take([decision])

    def _take(self, decisions):
        for decision in decisions:
            self.made.append(decision)
            trial = self.engine.trials[decision.trial_id]
            if decision.action is Action.CONTINUE and not trial.outcome.is_final:
                self.queue.append((decision.trial_id, trial.milestone + 1))

    def with_outcome(self, outcome):
        return {trial_id for trial_id in self.engine.trials if self.engine.outcome(trial_id) is outcome}

    def reached(self, level):
        return {trial_id for trial_id, trial in self.engine.trials.items() if trial.milestone >= level}


# -- one closed cohort ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    factor=st.sampled_from([1.5, 2.0, 3.0, 4.0]),
    slots=st.integers(1, 5),
    seed=st.integers(0, 10**6),
)
def test_engine_promotes_the_top_set_whatever_the_order_of_arrival(values, factor, slots, seed):
    scores = {f"t{i:03d}": float(value) for i, value in enumerate(values)}
    engine = new_engine(crowd(len(values)), policy=only_rungs(reduction_factor=factor, quota_per_method=0))
    sweep = Sweep(engine, lambda trial_id, level: scores[trial_id], slots=slots, seed=seed, greedy=False).run()
    alive = sorted(scores, key=lambda trial_id: (scores[trial_id], trial_id))
    for level in range(1, len(LEVELS)):
        alive = alive[: math.ceil(len(alive) / factor - 1e-9)]
        assert sweep.reached(level) == set(alive)
    assert sweep.with_outcome(Outcome.COMPLETED) == set(alive)
    assert sweep.with_outcome(Outcome.STOPPED) == set(scores) - set(alive)


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.lists(st.floats(-5, 5) | st.just(math.nan), min_size=4, max_size=4), min_size=1, max_size=24),
    quota=st.integers(0, 2),
    slots=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    greedy=st.booleans(),
    closed=st.booleans(),
)
def test_engine_keeps_its_promises_on_any_curves(table, quota, slots, seed, greedy, closed):
    trials = [
        facts(f"t{i:03d}", method=f"m{i % 3}", cohort=f"c{i % 2}", rate=10.0 ** -(i % 5 + 1)) for i in range(len(table))
    ]
    engine = new_engine(trials, closed=closed, policy=only_rungs(quota_per_method=quota))
    curve = {trial.trial_id: table[i] for i, trial in enumerate(trials)}
    sweep = Sweep(engine, lambda trial_id, level: curve[trial_id][level], slots=slots, seed=seed, greedy=greedy).run()
    # Everything ends (an open-ended cohort too, once it is closed), and nobody is stopped without reason and numbers.
    if not closed:
        engine.close_arrivals()
        sweep._take(engine.settle(slots, 0))
        sweep.run()
    assert all(trial.outcome.is_final for trial in engine.trials.values())
    assert all(decision.reason.endswith(".") for decision in engine.decisions)
    stops = [decision for decision in engine.decisions if decision.action is Action.STOP]
    for decision in stops:
        needed = {"objective", "mode", "value", "cut_off", "rank", "rung_size", "places", "milestone", "level", "basis"}
        assert needed <= set(decision.evidence)
        assert decision.cohort
        assert decision.rule == "rungs"
        json.dumps(dict(decision.evidence), allow_nan=False)
    for cohort in ("c0", "c1"):
        members = [trial for trial in trials if trial.cohort == cohort]
        for level in range(len(LEVELS) - 1):
            arrived = [t.trial_id for t in members if engine.trials[t.trial_id].milestone >= level]
            finite = [trial_id for trial_id in arrived if math.isfinite(curve[trial_id][level])]
            if finite:
                best = min(finite, key=lambda trial_id: (curve[trial_id][level], trial_id))
                assert engine.trials[best].milestone > level
            passed = sum(engine.trials[trial_id].milestone > level for trial_id in arrived)
            if closed and not greedy:
                assert passed <= math.ceil(len(arrived) / 2) + 3 * quota
    for decision in stops:
        if decision.evidence["value"] is not None:
            assert decision.evidence["rank"] > decision.evidence["places"]


def no_promising_trial_waits(engine, scores):
    """Whether every waiting trial is outside the best half of its rung even if all others came and were worse."""
    for trial in (trial for trial in engine.trials.values() if trial.outcome is Outcome.PAUSED):
        arrived = [t for t, other in engine.trials.items() if other.milestone >= trial.milestone]
        below = [t for t in engine.trials.values() if t.milestone < trial.milestone and not t.outcome.is_final]
        better = sum(scores[t] < scores[trial.facts.trial_id] for t in arrived)
        if better < math.ceil((len(arrived) + len(below)) / 2):
            return False
    return True


@settings(max_examples=40, deadline=None)
@given(count=st.integers(2, 24), slots=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_engine_never_leaves_a_slot_idle_while_a_promising_trial_waits(count, slots, seed):
    rng = random.Random(seed)
    scores = {trial.trial_id: rng.random() for trial in crowd(count)}
    engine = new_engine(crowd(count), policy=only_rungs(quota_per_method=0))
    sweep = Sweep(engine, lambda trial_id, level: scores[trial_id] - level, slots=slots, seed=seed)
    sweep.watch = lambda: len(sweep.running) == slots or no_promising_trial_waits(engine, scores)
    sweep.run()
    best = min(scores, key=scores.__getitem__)
    assert engine.outcome(best) is Outcome.COMPLETED
    passed = len(sweep.reached(1))
    assert passed <= math.ceil(count / 2) + slots - 1


def test_engine_settle_gives_an_idle_slot_to_the_best_that_waits():
    engine = new_engine(crowd(4), policy=only_rungs(quota_per_method=0))
    observe(engine, "t000", 0, 128, {"eval/loss": 2.0})
    observe(engine, "t001", 0, 128, {"eval/loss": 1.0})
    assert engine.settle(idle_slots=0, runnable=2) == []
    assert engine.settle(idle_slots=1, runnable=2) == []
    (decision,) = engine.settle(idle_slots=1, runnable=0)
    assert decision.trial_id == "t001"
    assert decision.action is Action.CONTINUE
    assert decision.evidence["basis"] == "idle"
    assert "idle" in decision.reason
    assert engine.outcome("t001") is Outcome.RUNNING
    assert engine.outcome("t000") is Outcome.PAUSED


def test_engine_settle_returns_promotions_best_first_then_stops():
    engine = new_engine(crowd(6), policy=only_rungs(quota_per_method=0))
    scores = {"t000": 6.0, "t001": 5.0, "t002": 3.0, "t003": 4.0, "t004": 2.0}
    waits = [observe(engine, t, 0, 128, {"eval/loss": v}).action for t, v in scores.items()]
    assert waits[:3] == [Action.PAUSE] * 3
    assert waits[3:] == [Action.PAUSE, Action.CONTINUE]
    last = observe(engine, "t005", 0, 130, {"eval/loss": 1.0})
    assert last.action is Action.CONTINUE
    assert last.samples_seen == 130
    made = engine.settle(0, 0)
    assert [d.trial_id for d in made] == ["t002", "t003", "t001", "t000"]
    assert [d.action for d in made] == [Action.CONTINUE, Action.STOP, Action.STOP, Action.STOP]
    stop = next(d for d in made if d.trial_id == "t000")
    assert stop.evidence["cut_off"] == 3.0
    assert stop.evidence["rank"] == 6
    assert stop.evidence["rung_size"] == 6
    assert "eval/loss 6 ranks 6 of 6 in cohort c at milestone 1 (128 samples); the best 3 go on" in stop.reason
    assert engine.decisions[-4:] == made


def test_engine_open_ended_cohort_promotes_asynchronously_and_stops_nothing():
    engine = new_engine(crowd(6), closed=False, policy=only_rungs(quota_per_method=0))
    assert observe(engine, "t000", 0, 128, {"eval/loss": 3.0}).action is Action.PAUSE
    decision = observe(engine, "t001", 0, 128, {"eval/loss": 2.0})
    assert decision.action is Action.CONTINUE
    assert decision.evidence["basis"] == "async"
    assert decision.evidence["outstanding"] is None
    assert observe(engine, "t002", 0, 128, {"eval/loss": 9.0}).action is Action.PAUSE
    assert observe(engine, "t003", 0, 128, {"eval/loss": 8.0}).action is Action.PAUSE
    assert [d.trial_id for d in engine.settle(idle_slots=1, runnable=5)] == ["t000"]
    assert engine.settle(idle_slots=1, runnable=5) == []
    engine.close_arrivals()
    engine.mark_failed("t004")
    engine.mark_failed("t005")
    made = engine.settle(idle_slots=0, runnable=0)
    assert {(d.trial_id, d.action) for d in made} == {("t003", Action.CONTINUE), ("t002", Action.STOP)}


def test_engine_expect_makes_a_cohort_as_good_as_closed():
    engine = new_engine(crowd(2), closed=False, policy=only_rungs(quota_per_method=0))
    engine.expect("c", 3)
    observe(engine, "t000", 0, 128, {"eval/loss": 1.0})
    decision = observe(engine, "t001", 0, 128, {"eval/loss": 2.0})
    assert decision.action is Action.PAUSE
    assert decision.evidence["outstanding"] == 1
    assert [d.trial_id for d in engine.settle(0, 1)] == ["t000"]
    engine.add_trial(facts("t9"))
    assert observe(engine, "t9", 0, 128, {"eval/loss": 3.0}).action is Action.STOP
    assert [(d.trial_id, d.action) for d in engine.settle(0, 0)] == [("t001", Action.CONTINUE)]


def test_engine_never_hangs_when_announced_trials_never_come():
    engine = new_engine(crowd(3), closed=False, policy=only_rungs())
    engine.expect("c", 10)
    sweep = Sweep(engine, lambda trial_id, level: float(trial_id[1:]), slots=2).run()
    assert sweep.with_outcome(Outcome.COMPLETED)
    assert not sweep.with_outcome(Outcome.RUNNING)


def test_engine_open_ended_cohort_that_stalls_is_judged_as_one_wave():
    engine = new_engine(crowd(4), closed=False, policy=only_rungs(quota_per_method=0))
    scores = {"t000": 1.0, "t001": 2.0, "t002": 3.0, "t003": 4.0}
    assert [observe(engine, t, 0, 128, {"eval/loss": v}).action for t, v in scores.items()] == [Action.PAUSE] * 4
    assert engine.settle(1, 1)[0].trial_id == "t000"
    engine.mark_failed("t000")
    made = [(d.trial_id, d.action, d.evidence["basis"]) for d in engine.settle(1, 0)]
    assert made == [("t001", Action.CONTINUE, "async")]
    engine.mark_failed("t001")
    made = [(d.trial_id, d.action) for d in engine.settle(1, 0)]
    assert made == [("t002", Action.STOP), ("t003", Action.STOP)]
    engine.add_trial(facts("late"))
    assert observe(engine, "late", 0, 128, {"eval/loss": 1.0}).action is Action.CONTINUE


# -- quota ---------------------------------------------------------------------------------------


def test_engine_quota_keeps_a_method_alive_until_its_best_rate_is_bracketed():
    trials = [facts(f"good{i}", method="full", rate=10.0 ** -(i + 1)) for i in range(4)]
    trials += [facts(f"edge{i}", method="lora", rate=10.0 ** -(i + 1)) for i in range(3)]
    trials += [facts(f"inner{i}", method="bitfit", rate=10.0 ** -(i + 1)) for i in range(3)]
    scores = {f"good{i}": 1.0 + i / 10 for i in range(4)}
    scores |= {"edge0": 5.0, "edge1": 6.0, "edge2": 7.0, "inner0": 6.0, "inner1": 5.5, "inner2": 7.0}
    sweep = Sweep(new_engine(trials), lambda trial_id, level: scores[trial_id], slots=3, greedy=False).run()
    assert sweep.with_outcome(Outcome.COMPLETED) == {"good0", "good1", "edge0"}
    kept = next(d for d in sweep.made if d.trial_id == "edge0" and d.evidence.get("basis") == "quota")
    assert kept.action is Action.CONTINUE
    assert "not bracketed" in kept.reason
    assert "higher" in kept.reason
    # Of 10, 5, 4 trials the best 5, 3, 2 pass, and `edge0` besides; `inner1` has worse neighbours on both sides, so no quota holds it.
    assert "inner1" in sweep.with_outcome(Outcome.STOPPED)


# -- results that cannot be ranked ---------------------------------------------------------------


def test_engine_stops_a_trial_whose_objective_is_not_a_number():
    engine = new_engine(crowd(3))
    decision = observe(engine, "t000", 0, 128, {"eval/loss": math.nan})
    assert decision.action is Action.STOP
    assert "not a finite number" in decision.reason
    assert decision.evidence["value"] is None
    assert decision.evidence["basis"] == "unjudgeable"


def test_engine_diverged_trial_keeps_the_reason_from_the_worker():
    engine = new_engine(crowd(2))
    signal = TrainingSignal(3, 96, 960, math.nan, math.nan, 1.0, 1e-4, 1.0, 1.0)
    halted = DivergenceRule().watch("t000")(signal)
    decision = observe(engine, "t000", 0, 96, {}, (), TrialState.DIVERGED, halted)
    assert halted is not None
    assert decision == replace(halted, cohort="c")
    assert engine.outcome("t000") is Outcome.DIVERGED
    assert observe(engine, "t001", 0, 128, {"eval/loss": 1.0}).action is Action.CONTINUE
    assert engine.decisions[0] == decision


def test_engine_missing_metric_is_an_error_and_changes_nothing():
    engine = new_engine(crowd(2))
    with pytest.raises(SpecError, match="available metrics: train/loss"):
        observe(engine, "t000", 0, 128, {"train/loss": 1.0})
    assert engine.trials["t000"].milestone == -1
    assert engine.decisions == []


def test_engine_ranks_feasible_trials_before_infeasible_ones():
    objective = Objective("eval/loss", constraints=(Constraint("general/forgetting", at_most=0.05),))
    engine = new_engine(crowd(2), objective=objective, policy=only_rungs(quota_per_method=0))
    observe(engine, "t000", 0, 128, {"eval/loss": 0.1, "general/forgetting": 0.5})
    assert observe(engine, "t001", 0, 128, {"eval/loss": 3.0, "general/forgetting": 0.0}).action is Action.CONTINUE
    (stop,) = engine.settle(0, 0)
    assert stop.trial_id == "t000"
    assert "breaks general/forgetting <= 0.05" in stop.reason


# -- failures, repeats ---------------------------------------------------------------------------


def test_engine_does_not_count_a_trial_twice_after_a_failure():
    engine = new_engine(crowd(4), policy=only_rungs(quota_per_method=0))
    engine.mark_failed("t000")
    assert engine.outcome("t000") is Outcome.FAILED
    engine.add_trial(facts("t000", rate=1e-5))
    assert engine.outcome("t000") is Outcome.PENDING
    for trial_id, value in (("t001", 1.0), ("t002", 2.0), ("t003", 3.0)):
        observe(engine, trial_id, 0, 128, {"eval/loss": value})
    decision = observe(engine, "t000", 0, 128, {"eval/loss": 4.0})
    assert decision.evidence["rung_size"] == 4
    assert decision.action is Action.STOP
    assert {d.trial_id for d in engine.settle(0, 0) if d.action is Action.CONTINUE} <= {"t001", "t002"}


def test_engine_restarted_trial_passes_rungs_it_was_promoted_from():
    engine = new_engine(crowd(2), policy=only_rungs(quota_per_method=0))
    observe(engine, "t001", 0, 128, {"eval/loss": 2.0})
    observe(engine, "t000", 0, 128, {"eval/loss": 1.0})
    engine.settle(0, 0)
    engine.mark_failed("t000")
    engine.add_trial(facts("t000", rate=1e-5))
    again = observe(engine, "t000", 0, 128, {"eval/loss": 1.5})
    assert again.action is Action.CONTINUE
    assert "already promoted" in again.reason
    assert observe(engine, "t000", 1, 256, {"eval/loss": 1.0}).evidence["rung_size"] == 1


def test_engine_repeated_report_of_a_paused_trial_replaces_the_first():
    engine = new_engine(crowd(3), policy=only_rungs(quota_per_method=0))
    observe(engine, "t000", 0, 128, {"eval/loss": 2.0})
    again = observe(engine, "t000", 0, 128, {"eval/loss": 1.0})
    assert again.evidence["rung_size"] == 1
    assert again.evidence["value"] == 1.0


def test_engine_repeated_report_of_an_ended_trial_repeats_the_verdict():
    engine = new_engine(crowd(2))
    stop = observe(engine, "t000", 0, 128, {"eval/loss": math.nan})
    assert observe(engine, "t000", 0, 128, {"eval/loss": 1.0}) == stop
    assert engine.decisions == [stop]


def test_engine_forget_makes_a_trial_never_have_been():
    engine = new_engine(crowd(3), closed=False, policy=only_rungs(quota_per_method=0))
    engine.expect("c", 3)
    observe(engine, "t000", 0, 128, {"eval/loss": 1.0})
    engine.forget("t002")
    decision = observe(engine, "t001", 0, 128, {"eval/loss": 2.0})
    assert decision.action is Action.STOP
    assert decision.evidence["rung_size"] == 2


def test_engine_add_trial_is_idempotent_but_refuses_other_facts():
    engine = new_engine(crowd(2))
    engine.add_trial(facts("t000", rate=1e-5))
    assert len(engine.trials) == 2
    with pytest.raises(ValueError, match="other facts"):
        engine.add_trial(facts("t000", rate=1.0))
    with pytest.raises(ValueError, match="unknown"):
        observe(engine, "nobody", 0, 128, {})
    with pytest.raises(ValueError, match="milestone 9"):
        observe(engine, "t000", 9, 128, {})


# -- record, levels without rungs, end ------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 4))
def test_engine_record_mode_never_stops_or_pauses(seed, slots):
    rng = random.Random(seed)
    policy = StoppingPolicy((DivergenceRule(), RungRule(), EarlyDynamicsRule(enabled=True)), record=True)
    engine = new_engine(crowd(12), policy=policy)
    sweep = Sweep(engine, lambda trial_id, level: rng.choice([rng.random(), math.nan]), slots=slots, seed=seed).run()
    assert {decision.action for decision in sweep.made} == {Action.CONTINUE}
    assert sweep.with_outcome(Outcome.COMPLETED) == set(engine.trials)
    assert policy.worker_rule() == DivergenceRule(non_finite_only=True)


def test_engine_without_rungs_lets_everything_pass():
    engine = new_engine(crowd(6), policy=only_rungs(enabled=False))
    sweep = Sweep(engine, lambda trial_id, level: float(trial_id[1:]), slots=2).run()
    assert sweep.with_outcome(Outcome.COMPLETED) == set(engine.trials)
    assert {decision.rule for decision in sweep.made} == {"milestone", "budget"}


def test_engine_compares_only_at_the_chosen_rungs():
    engine = new_engine(crowd(4), policy=only_rungs(milestones=(1,), quota_per_method=0))
    sweep = Sweep(engine, lambda trial_id, level: float(trial_id[1:]), slots=2).run()
    assert sweep.reached(1) == set(engine.trials)
    assert len(sweep.reached(2)) == 2


def test_engine_winner_is_the_best_that_completed():
    engine = new_engine(crowd(8), policy=only_rungs())
    assert engine.winner() is None
    Sweep(engine, lambda trial_id, level: float(trial_id[1:]), slots=2).run()
    found = engine.winner()
    assert found is not None
    assert found.winner.trial_id == "t000"
    assert found.level == 1024


def test_engine_winner_before_anything_completed_is_the_best_at_the_deepest_milestone():
    engine = new_engine(crowd(3), policy=only_rungs(quota_per_method=0))
    for trial_id, value in (("t000", 3.0), ("t001", 1.0), ("t002", 2.0)):
        observe(engine, trial_id, 0, 128, {"eval/loss": value})
    found = engine.winner()
    assert found is not None
    assert found.winner.trial_id == "t001"
    assert found.level == 128


@pytest.mark.parametrize(
    ("levels", "policy", "words"),
    [
        ((), only_rungs(), "levels"),
        ((256, 128), only_rungs(), "levels"),
        ((128, 256), only_rungs(milestones=(1,)), "rung at milestone 1"),
        ((128,), StoppingPolicy((RungRule(), EarlyDynamicsRule(enabled=True))), "share"),
    ],
)
def test_engine_refuses_levels_that_do_not_fit(levels, policy, words):
    with pytest.raises(ValueError, match=words):
        StoppingEngine(policy, SweepOutline(levels, OBJECTIVE))


# -- early dynamics ------------------------------------------------------------------------------

DYNAMICS = StoppingPolicy((EarlyDynamicsRule(enabled=True, share=0.25),))


def feed(engine, order, norm_of, loss_of, level=1):
    for trial_id in order:
        for index in range(level + 1):
            previous = LEVELS[index - 1] if index else 0
            start = [replace(signals(LEVELS[0], 0, 9.0, 1.0)[0], samples_seen=8)] if index == 0 else []
            rows = start + signals(LEVELS[index], previous, loss_of(trial_id), norm_of(trial_id))
            observe(engine, trial_id, index, LEVELS[index], {"eval/loss": loss_of(trial_id)}, rows)
    return engine.settle(0, 0)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 3, 1, 0, 5, 2, 6, 4]])
def test_engine_early_dynamics_stops_the_same_trials_in_any_order(order):
    engine = new_engine(crowd(8), policy=DYNAMICS)
    feed(engine, [f"t{i:03d}" for i in order], lambda t: 1.0 + int(t[1:]), lambda t: 4.0 - 0.1 * int(t[1:]))
    stops = {d.trial_id: d for d in engine.decisions if d.action is Action.STOP}
    assert set(stops) == {"t006"}, "two of eight may go; t007 has the best objective and is spared"
    reason = stops["t006"].reason
    for part in ("early", "gradient norm 7", "cohort c", "milestone 2 (256 samples)", "eval/loss", "128 samples"):
        assert part in reason
    assert stops["t006"].rule == "early_dynamics"
    assert stops["t006"].evidence["rank"] == 2


def test_engine_early_dynamics_vetoes_only_what_the_rungs_let_pass():
    policy = StoppingPolicy((RungRule(quota_per_method=0, milestones=(1,)), *DYNAMICS.rules))
    engine = new_engine(crowd(8), policy=policy)
    feed(engine, sorted(engine.trials), lambda t: 1.0 + int(t[1:]), lambda t: 4.0 - 0.1 * int(t[1:]))
    rules = {t: engine.trials[t].last.rule for t in engine.trials if engine.outcome(t) is Outcome.STOPPED}
    assert rules == {**{f"t00{i}": "rungs" for i in range(4)}, "t006": "early_dynamics"}


def test_engine_dynamics_of_changes_nothing_and_goes_on_over_milestones():
    engine = new_engine(crowd(2), policy=only_rungs(enabled=False))
    first = signals(128, 0, 4.0, 1.0)
    found = engine.dynamics_of("t000", first, 128)
    assert engine.dynamics_of("t000", first, 128) == found
    assert engine.trials["t000"].dynamics == {}
    observe(engine, "t000", 0, 128, {"eval/loss": 1.0}, first)
    assert json.loads(json.dumps(engine.trials["t000"].dynamics)) == found
    later = engine.dynamics_of("t000", signals(256, 128, 2.0, 1.0), 256)
    assert later["loss_start"] == 4.0
    assert later["loss_relative"] == 0.5
    assert later["steps"] == 8
    assert engine.dynamics_of("t000", [], 256) == found


# -- the fold ------------------------------------------------------------------------------------


def busy_sweep(seed, closed=True):
    rng = random.Random(seed)
    trials = [
        facts(f"t{i:03d}", method=f"m{i % 3}", cohort=f"c{i % 2}", rate=10 ** rng.uniform(-6, -2)) for i in range(30)
    ]
    engine = new_engine(trials, closed=closed, policy=only_rungs())
    diverging = {trial.trial_id for trial in trials if rng.random() < 0.1}
    sweep = Sweep(
        engine,
        lambda trial_id, level: rng.choice([0.0, rng.random()]),
        slots=3,
        seed=seed,
        diverges=lambda trial_id, level: trial_id in diverging,
    ).run()
    if not closed:
        engine.close_arrivals()
        engine.settle(0, 0)
    return sweep


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_engine_replay_of_its_events_gives_the_same_decisions(seed, closed):
    engine = busy_sweep(seed, closed).engine
    again = RememberingEngine.told(engine.policy, engine.sweep, engine.calls)
    assert again.decisions == engine.decisions
    assert again.calls == engine.calls
    assert busy_sweep(seed, closed).engine.decisions == engine.decisions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cut", [7, 40, 10**9])
def test_engine_restored_from_a_journal_goes_on_as_if_uninterrupted(seed, cut):
    """Feeds a prefix of a sweep with its decisions given, as a journal does, and the rest as it happened."""
    engine = busy_sweep(seed).engine
    again = StoppingEngine(engine.policy, engine.sweep)
    made, answers = deque(engine.decisions), deque(engine.answers)
    for number, (name, arguments) in enumerate(engine.calls):
        if name == "observe":
            answer = answers.popleft()
            assert made.popleft() == answer.decision
            if number < cut:
                again.restore_observation(journaled(arguments[0], answer))
            else:
                assert again.observe(*arguments) == answer
        elif name != "settle":
            getattr(again, name)(*arguments)
        elif number < cut:
            while made and not is_observed(made[0], engine.calls, number):
                again.restore_decision(made.popleft())
        else:
            assert all(decision == made.popleft() for decision in again.settle(*arguments))
    assert {t: p.outcome for t, p in again.trials.items()} == {t: p.outcome for t, p in engine.trials.items()}
    assert again.decisions == engine.decisions
    assert again.settle(0, 0) == []


def test_engine_restored_early_dynamics_judges_as_before():
    order = ["t007", "t003", "t001", "t000", "t005", "t002", "t006", "t004"]
    norm, loss = (lambda t: 1.0 + int(t[1:])), (lambda t: 4.0 - 0.1 * int(t[1:]))
    engine = new_engine(crowd(8), policy=DYNAMICS)
    feed(engine, order[:5], norm, loss)
    again = new_engine(crowd(8), policy=DYNAMICS)
    milestones = [arguments[0] for name, arguments in engine.calls if name == "observe"]
    for milestone, answer in zip(milestones, list(engine.answers), strict=True):
        again.restore_observation(journaled(milestone, answer))
    assert feed(again, order[5:], norm, loss) == feed(engine, order[5:], norm, loss)
    assert again.decisions == engine.decisions
    assert again.outcome("t006") is Outcome.STOPPED


def journaled(milestone, answer):
    """Return a milestone as it comes back from a journal's JSON."""
    scores, dynamics = json.loads(json.dumps([milestone.scores, answer.dynamics]))
    kept = Answer(answer.decision, dynamics)
    return ObservedMilestone(milestone.trial_id, milestone.index, milestone.samples_seen, milestone.state, scores, kept)


def is_observed(decision: Decision, calls, number):
    """Whether a decision was made by the observation that follows call ``number``."""
    after = next((arguments[0] for name, arguments in calls[number + 1 :] if name == "observe"), None)
    if after is None or after.trial_id != decision.trial_id:
        return False
    return after.samples_seen == decision.samples_seen


def test_engine_folds_ten_thousand_trials_in_seconds():
    rng = random.Random(0)
    methods = [f"m{i}" for i in range(40)]
    trials = [facts(f"t{i:05d}", method=methods[i % 40], rate=10 ** rng.uniform(-6, -2)) for i in range(10_000)]
    engine = new_engine(trials)
    score = {trial.trial_id: rng.random() for trial in trials}
    started = time.process_time()
    queue, observed = deque((trial.trial_id, 0) for trial in trials), 0
    while queue:
        trial_id, level = queue.popleft()
        first = observe(engine, trial_id, level, LEVELS[level], {"eval/loss": score[trial_id] - 0.1 * level})
        observed += 1
        for decision in [first, *engine.settle(max(0, 8 - len(queue)), len(queue))]:
            if decision.action is Action.CONTINUE and not engine.outcome(decision.trial_id).is_final:
                queue.append((decision.trial_id, engine.trials[decision.trial_id].milestone + 1))
    seconds = time.process_time() - started
    assert engine.outcome(min(score, key=score.__getitem__)) is Outcome.COMPLETED
    assert observed > 18_000
    assert seconds < 10, f"{observed} observations took {seconds:.1f} s"
