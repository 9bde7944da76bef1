"""The plain rules: what they keep, and that they look at nothing else."""

from __future__ import annotations

import pytest

from orchestrator.decisions.objective import Objective
from orchestrator.records import Outcome
from orchestrator.simulation.engine import baselines, ranking
from orchestrator.simulation.engine.simulator import Clock, Replay, simulate
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.rules import choose_rules
from tests.worlds.replay_worlds import BUDGET, LOSS, falling, names, trial


def run(rule: str, recorded: RecordedSweep, order: list[str] | None = None, seed: int = 0, workers: int = 1) -> Replay:
    scheduler = choose_rules([rule]).rules[0].make()
    return simulate(recorded, scheduler, LOSS, Clock(workers), order or names(recorded), seed)


def kept(replay: Replay) -> set[str]:
    return {name for name, outcome in replay.outcomes.items() if outcome is Outcome.COMPLETED}


def test_no_stopping_trains_everything():
    assert run("no-stopping", falling(4)).samples_total == 4 * BUDGET


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_halving_keeps_one_in_factor_rounded_up_whatever_the_order(workers):
    recorded = falling(9)
    for order in (names(recorded), names(recorded)[::-1]):
        replay = run("halving-rf2", recorded, order, workers=workers)
        # 9 to the first level, 5 to the second, 3 to the end.
        assert replay.samples_total == 9 * 16 + 5 * 16 + 3 * 32
        assert kept(replay) == {"t0", "t1", "t2"}
        assert replay.chosen == "t0"


def test_halving_counts_diverged_trials_in_the_size_of_a_rung():
    good = falling(4).trials
    bad = [trial(f"bad{n}", [9, 9, 9], diverges_at=8) for n in range(4)]
    replay = run("halving-rf2", RecordedSweep("mixed", (*good, *bad)))
    # Half of eight arrived pass the first level, half of four the second.
    assert kept(replay) == {"t0", "t1"}


def test_halving_maximises_when_asked():
    recorded = falling(4)
    scheduler = choose_rules(["halving-rf2"]).rules[0].make()
    replay = simulate(recorded, scheduler, Objective("eval/loss", "max"), Clock(), names(recorded), 0)
    assert replay.chosen == "t3"


def test_top_k_judges_once_and_trains_k():
    recorded = falling(8)
    early, fifth = run("top-k-early-k3", recorded), run("top-k-fifth-k3", recorded)
    assert kept(early) == kept(fifth) == {"t0", "t1", "t2"}
    assert early.samples_total == 8 * 16 + 3 * 48


def test_top_k_with_more_places_than_trials_trains_all():
    assert run("top-k-early-k5", falling(4)).samples_total == 4 * BUDGET


def test_one_rung_takes_the_first_level_at_its_share_or_the_last_but_one():
    levels = (16, 32, 64)
    assert list(baselines.OneRung(0.2, 1)(levels)) == [0]
    assert list(baselines.OneRung(0.3, 1)(levels)) == [1]
    assert list(baselines.OneRung(0.9, 1)(levels)) == [1]
    assert list(baselines.OneRung(0.2, 1)((64,))) == []
    assert list(baselines.EveryRung(2, 0.5)(levels)) == [1]


def signals_sweep() -> RecordedSweep:
    """The final score is best for t0, the loss lowest for t1, the norm lowest for t2, and t3 is the paper's choice."""
    shape = {"t0": (3.0, 3.0), "t1": (1.0, 4.0), "t2": (2.0, 1.0), "t3": (5.0, 1.5)}
    made = [
        trial(name, [3, 2, 1 + n], losses=[loss] * 8, norms=[norm] * 8)
        for n, (name, (loss, norm)) in enumerate(shape.items())
    ]
    return RecordedSweep("signals", tuple(made))


@pytest.mark.parametrize(
    ("rule", "winner"), [("loss-only-rf4", "t1"), ("grad-norm-only-rf4", "t2"), ("paper-keep0.25", "t3")]
)
def test_signal_rules_follow_their_own_signal(rule, winner):
    replay = run(rule, signals_sweep())
    assert kept(replay) == {winner}
    assert replay.chosen == winner


def test_signal_rules_use_the_signals_since_the_last_milestone():
    late = trial("late", [3, 2, 1], losses=[9, 9, 1, 1, 9, 9, 9, 9])
    early = trial("early", [3, 2, 2], losses=[2, 2, 8, 8, 9, 9, 9, 9])
    recorded = RecordedSweep("two", (late, early))
    scheduler = baselines.KeepTop("x", lambda levels: {1: lambda size: 1}, ranking.by_loss)
    assert kept(simulate(recorded, scheduler, LOSS, Clock(), ["early", "late"], 0)) == {"late"}


def test_random_rule_follows_the_seed_and_keeps_as_many_as_halving():
    recorded = falling(12)
    first = [run("random-rf2", recorded, seed=seed) for seed in range(6)]
    again = [run("random-rf2", recorded, seed=seed) for seed in range(6)]
    assert first == again
    assert len({frozenset(kept(each)) for each in first}) > 1
    assert {each.samples_total for each in first} == {run("halving-rf2", recorded).samples_total}


def nulls_sweep() -> RecordedSweep:
    grid = [(rate, batch) for rate in (1e-4, 1e-3) for batch in (8, 16)]
    return RecordedSweep(
        "grid", tuple(trial(f"r{rate:g}-b{batch}", [3, 2, 1], learning_rate=rate, batch=batch) for rate, batch in grid)
    )


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ("lowest-rate", {"r0.0001-b8", "r0.0001-b16"}),
        ("largest-batch", {"r0.0001-b16", "r0.001-b16"}),
        ("lowest-rate-largest-batch", {"r0.0001-b16"}),
    ],
)
def test_nulls_train_one_trial_by_its_configuration_and_draw_among_ties(rule, allowed):
    replays = [run(rule, nulls_sweep(), seed=seed) for seed in range(12)]
    assert all(each.samples_total == BUDGET for each in replays)
    assert {name for each in replays for name in kept(each)} == allowed
    assert all({each.chosen} == kept(each) for each in replays)
