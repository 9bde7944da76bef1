"""Every rival on the same small sweeps: stops the bad, keeps the best, is deterministic, survives odd sweeps."""

import importlib.util
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.records import Action, Outcome
from orchestrator.simulation.engine.scheduler import Scheduler
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.rivals.optuna import optuna_rules
from orchestrator.simulation.rivals.ray_tune import ray_rules
from orchestrator.simulation.rivals.shared import (
    OwnNumpyRandom,
    Workers,
    family,
    first_rung,
    grace_level,
    rung_count,
)
from orchestrator.simulation.rivals.syne_tune import syne_rules
from tests.worlds.rival_sweeps import problem, recorded, replay

LEVELS = tuple(range(100, 1300, 100))
RULES: dict[str, Callable[[], Scheduler]] = {**ray_rules(), **optuna_rules()}
if importlib.util.find_spec("syne_tune") is not None:
    RULES.update(syne_rules())
one_of_each_family = {family(name): name for name in sorted(RULES)}
every_rule = pytest.mark.parametrize("name", sorted(RULES))


def clear_cut(sign: float = 1.0) -> RecordedSweep:
    """Return 24 trials: half get better and end in the order of their number, half get worse from the start."""

    def curve(number: int, start: float, slope: float) -> list[float]:
        # Unevenness, so that no two differences of curves are tied.
        return [sign * (start + 0.1 * number + slope * k + 0.03 * math.sin(5 * number + k * k)) for k in range(12)]

    good = [recorded(f"good{n}", curve(n, 2.0, -0.05), LEVELS) for n in range(12)]
    bad = [recorded(f"bad{n}", curve(n, 5.0, 0.1), LEVELS) for n in range(12)]
    return RecordedSweep("clear-cut", (*good, *bad))


@every_rule
def test_stops_what_gets_worse_and_lets_the_best_through(name: str) -> None:
    done = replay(clear_cut(), RULES[name]())
    stopped = [f"bad{n}" for n in range(12) if done.outcomes[f"bad{n}"] is Outcome.STOPPED]
    # Hyperband's brackets with few rungs and the first completed trials are nobody's to stop.
    assert len(stopped) >= 6
    assert done.chosen == "good0"
    assert done.samples_trained["good0"] == LEVELS[-1]
    assert done.scheduler == name


@every_rule
def test_same_seed_same_run(name: str) -> None:
    sweep, scheduler = clear_cut(), RULES[name]()
    first = replay(sweep, scheduler, seed=3)
    assert replay(sweep, RULES[name](), seed=3) == first
    assert replay(sweep, scheduler, seed=3) == first, "begin must forget the run before"


@every_rule
def test_largest_is_judged_as_smallest_is(name: str) -> None:
    least, most = replay(clear_cut(), RULES[name]()), replay(clear_cut(-1.0), RULES[name](), mode="max")
    assert most.samples_trained == least.samples_trained


@st.composite
def odd_sweeps(draw: st.DrawFn) -> RecordedSweep:
    """Sweeps with ties, scores that are not numbers, divergence, and batches larger than a level."""
    levels = draw(st.sampled_from([(100, 200, 400, 800), (100, 1600), LEVELS[:8], (63, 125, 250, 500, 1000), (70,)]))
    score = st.sampled_from([1.0, 1.5, 2.0, 3.0, math.nan, math.inf])
    trials = []
    for number in range(draw(st.integers(2, 14))):
        batch = draw(st.sampled_from([1, 7, 60, 350]))
        curve = draw(st.lists(score, min_size=len(levels), max_size=len(levels)))
        steps = -(-levels[-1] // batch)
        end = draw(st.sampled_from([None, None, 1, (steps + 1) // 2]))
        trials.append(recorded(str(number), curve, levels, batch, end and end * batch))
    return RecordedSweep("odd", tuple(trials))


@pytest.mark.parametrize("name", one_of_each_family.values(), ids=one_of_each_family)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweep=odd_sweeps(), workers=st.integers(1, 5), seed=st.integers(0, 3))
def test_every_trial_of_an_odd_sweep_comes_to_an_end(name: str, sweep: RecordedSweep, workers: int, seed: int) -> None:
    done = replay(sweep, RULES[name](), workers, seed)
    last = {decision.trial_id: decision.action for decision in done.decisions}
    for trial, outcome in done.outcomes.items():
        assert done.samples_trained[trial] > 0
        assert (outcome is Outcome.STOPPED) == (last.get(trial) is Action.STOP)


def test_family_is_the_name_without_knobs() -> None:
    assert family("ray-asha-rf4-grace1in8") == "ray-asha"
    assert family("optuna-median") == "optuna-median"
    assert family("syne-async-hyperband-rf3-brackets3") == "syne-async-hyperband"


def test_grace_period_is_a_milestone() -> None:
    levels = (62, 125, 250, 500, 1000)
    assert grace_level(levels, 0) == 62
    assert grace_level(levels, 16) == 62  # 62.5 rounded down is still a sixteenth
    assert grace_level(levels, 5) == 250
    assert grace_level(levels, 1) == 1000


def test_first_rung_makes_the_later_ones_milestones() -> None:
    assert first_rung((104, 200, 400, 800, 1600), 104, 2) == 100
    assert first_rung((100, 200, 400, 800, 1600), 100, 4) == 100
    assert first_rung((100, 1600), 100, 2) == 100  # 1600 is the budget, nothing lies between
    assert rung_count((100, 200, 400), 100, 2) == 3
    assert rung_count((100, 200, 399), 100, 2) == 2


def test_own_random_state_leaves_the_global_one_alone() -> None:
    np.random.seed(7)
    expected = np.random.RandomState(7).random_sample(2).tolist()
    own, other = OwnNumpyRandom(1), OwnNumpyRandom(1)
    seen = [np.random.random_sample()]
    with own.installed():
        first = [np.random.random_sample()]
    with own.installed():
        first.append(np.random.random_sample())
    with other.installed():
        second = np.random.random_sample(2).tolist()
    seen.append(np.random.random_sample())
    assert first == second
    assert seen == expected


def test_workers_take_promoted_trials_first() -> None:
    workers = Workers(problem(4, (1, 2), workers=2))
    assert workers.all_busy() == ["0", "1"]
    workers.leave("0")
    assert workers.some_idle(1) == []
    workers.promote("0")
    assert workers.unclaimed(1) == 0
    assert workers.all_busy() == ["0"]
    workers.leave("1")
    assert workers.all_busy() == ["2"]
    workers.leave("2")
    workers.leave("0")
    assert workers.all_busy() == ["3"]  # the second worker has nothing left to take
