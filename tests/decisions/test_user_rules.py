"""A stopping rule of a user's own: the same class stops trials in a running sweep, after a restart, and under replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.decisions.engine.engine import StoppingPolicy, SweepOutline
from orchestrator.decisions.rules.peers import PeerRule
from orchestrator.decisions.rules.registry import RULES, find_rule
from orchestrator.decisions.rules.rule import Finding, Standing
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.errors import InputError
from orchestrator.records import Action, Decision, Outcome, TrainingSignal
from orchestrator.settings.bounds import check_bounds
from orchestrator.settings.data import about
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, simulate
from tests.worlds.engines import RememberingEngine, observe
from tests.worlds.replay_worlds import LEVELS, LOSS, falling, names
from tests.worlds.tuning_worlds import Killed, SimulatedSweep, Storage, small_spec


@dataclass(frozen=True)
class StopTheSlow(PeerRule):
    """Stops a trial that is further behind its cohort's best than ``margin``."""

    name = "the_slow"

    margin: float = field(default=0.15, metadata=about("How far behind.", gt=0))
    at: int = 0

    def __post_init__(self) -> None:
        check_bounds(self)

    def milestones(self, sweep: SweepOutline) -> Collection[int]:
        return (self.at,)

    def judge_among(self, trial: Standing, cohort: Sequence[Standing]) -> Finding | None:
        best = min(each.scores["eval/loss"] for each in cohort)
        behind = trial.scores["eval/loss"] - best
        if behind <= self.margin:
            return None
        return Finding(f"it is {behind:.3g} behind the best of {len(cohort)}", {"behind": behind})


def signal(samples: int, norm: float) -> TrainingSignal:
    return TrainingSignal(samples, samples, samples, 2.0, 2.0, norm, 1e-3, 1.0, 1.0)


def stops(decisions: Sequence[Decision], rule: str = "the_slow") -> dict[str, Decision]:
    return {each.trial_id: each for each in decisions if each.action is Action.STOP and each.rule == rule}


def test_under_replay_it_stops_what_is_behind_and_gives_its_reason() -> None:
    recorded = falling(4)
    scheduler = EngineScheduler(StoppingPolicy((StopTheSlow(),)))
    run = simulate(recorded, scheduler, LOSS, Clock(2), names(recorded), 0)
    found = stops(scheduler.engine.decisions)
    assert set(found) == {"t2", "t3"}
    assert found["t3"].reason == "Stopped in cohort all at milestone 1 (16 samples): it is 0.3 behind the best of 4."
    assert found["t3"].evidence["behind"] == pytest.approx(0.3)
    assert {name for name, end in run.outcomes.items() if end is Outcome.COMPLETED} == {"t0", "t1"}


@given(order=st.permutations(range(6)))
def test_whatever_the_order_of_arrival_it_judges_with_all_peers(order: Sequence[int]) -> None:
    recorded = falling(6)
    scheduler = EngineScheduler(StoppingPolicy((StopTheSlow(),)))
    simulate(recorded, scheduler, LOSS, Clock(1), [f"t{place}" for place in order], 0)
    assert set(stops(scheduler.engine.decisions)) == {"t2", "t3", "t4", "t5"}


def test_it_is_asked_of_those_that_the_rungs_let_pass() -> None:
    recorded = falling(8)
    scheduler = EngineScheduler(StoppingPolicy((RungRule(), StopTheSlow())))
    simulate(recorded, scheduler, LOSS, Clock(2), names(recorded), 0)
    first = [each for each in scheduler.engine.decisions if each.samples_seen == LEVELS[0]]
    assert set(stops(first, "rungs")) == {"t4", "t5", "t6", "t7"}
    assert set(stops(first)) == {"t2", "t3"}


def test_in_a_running_sweep_it_stops_trials_and_the_journal_says_why(tmp_path: Path) -> None:
    sweep = SimulatedSweep(_search_only(), Storage(tmp_path), further_rules=(StopTheSlow(),)).run()
    found = stops(sweep.coordinator.engine.decisions)
    ended = {key for key, entry in sweep.coordinator.trials.items() if entry.outcome is Outcome.STOPPED}
    assert found
    assert ended == set(found)
    assert all("behind the best of 12" in decision.reason for decision in found.values())


@pytest.mark.parametrize("lives", [15, 22, 30])
def test_a_killed_sweep_goes_on_as_if_it_had_not_been(tmp_path: Path, lives: int) -> None:
    how: dict[str, Any] = {"further_rules": (StopTheSlow(),)}
    whole = SimulatedSweep(_search_only(), Storage(_folder(tmp_path / "whole")), **how).run()
    storage = Storage(_folder(tmp_path / "killed"))
    with pytest.raises(Killed):
        SimulatedSweep(_search_only(), storage, lives=lives, **how).run()
    again = SimulatedSweep(_search_only(), storage, **how).run()
    assert again.verdicts() == whole.verdicts()
    assert again.outcomes() == whole.outcomes()


def test_a_rule_sees_the_early_dynamics_and_forgets_who_has_gone() -> None:
    seen: list[list[str]] = []

    class Watching(PeerRule):
        name = "watching"

        def judge_among(self, trial: Standing, cohort: Sequence[Standing]) -> Finding | None:
            seen.append([each.facts.trial_id for each in cohort])
            norm = trial.dynamics.grad_norm_mean if trial.dynamics is not None else 0.0
            return Finding("its gradient norm is high") if norm > 5 else None

    recorded = falling(3)
    engine = RememberingEngine(StoppingPolicy((Watching(),)), SweepOutline(LEVELS, LOSS))
    for each in recorded.trials:
        engine.add_trial(each.facts)
    engine.close_arrivals()
    observe(engine, "t0", 0, 16, {"eval/loss": 1.0}, [signal(16, 9.0)])
    engine.forget("t1")
    observe(engine, "t2", 0, 16, {"eval/loss": 2.0}, [signal(16, 1.0)])
    engine.settle(0, 0)
    assert set(stops(engine.decisions, "watching")) == {"t0"}
    assert {name for names_ in seen for name in names_} == {"t0", "t2"}


def test_options_of_a_rule_check_themselves() -> None:
    with pytest.raises(ValueError, match=r"margin = -1: must be above 0"):
        StopTheSlow(margin=-1)
    with pytest.raises(ValueError, match=r"margin = nan: must be a finite number"):
        StopTheSlow(margin=float("nan"))


def test_rules_are_found_by_name() -> None:
    assert {name: find_rule(name).name for name in RULES} == {name: name for name in RULES}
    with pytest.raises(InputError, match="Did you mean 'forecast'"):
        find_rule("forcast")


def _search_only() -> Any:
    return small_spec(stopping={"rungs": {"enabled": False}, "forecast": {"enabled": False}})


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
