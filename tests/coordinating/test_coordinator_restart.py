"""Kill the driver anywhere, run the same sweep again: nothing is lost, nothing trained twice."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_coordinator import OPEN_ENDED, TWO, check_books, uneven

from orchestrator.records import Outcome
from tests.worlds.journals.lines import journal_lines
from tests.worlds.tuning_worlds import Killed, SimulatedSweep, Storage, small_spec

FINITE: dict[str, Any] = {"searcher": "grid"}
SOBOL: dict[str, Any] = {"searcher": "sobol", "search_space": OPEN_ENDED, "budget": {"trials": 13, "samples": 64}}
ODD: dict[str, Any] = {
    "diverges": lambda config: config.learning_rate == 1e-2,
    "fails": lambda config: config.learning_rate == 1e-5 and config.effective_batch_size == 8,
}


def run_through_kills(
    folder: Path, spec: Any, kills: list[tuple[int, bool]], **how: Any
) -> tuple[SimulatedSweep, Storage]:
    """Run a sweep whose driver is killed at some journal writes of each session, and at last left alone."""
    storage = Storage(folder)
    for lives, after in kills:
        before = decided(storage)
        try:
            SimulatedSweep(spec, storage, lives=lives, after=after, **how).run()
        except Killed:
            assert decided(storage)[: len(before)] == before
    before = decided(storage)
    sweep = SimulatedSweep(spec, storage, **how).run()
    assert decided(storage)[: len(before)] == before
    return sweep, storage


def decided(storage: Storage) -> list[Any]:
    return [record["decision"] for record in journal_lines(storage.journal) if "decision" in record]


kills = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=4)


@pytest.mark.parametrize("space", [FINITE, SOBOL], ids=["grid", "sobol"])
@pytest.mark.parametrize("odd", [{}, ODD], ids=["sound", "odd"])
@given(kills=kills)
@settings(deadline=None, max_examples=15)
def test_killed_sweep_ends_as_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory,
    kills: list[tuple[int, bool]],
    space: dict[str, Any],
    odd: dict[str, Any],
) -> None:
    spec = small_spec(**space)
    whole = SimulatedSweep(spec, Storage(tmp_path_factory.mktemp("whole")), slots=1, **odd).run()
    sweep, storage = run_through_kills(tmp_path_factory.mktemp("killed"), spec, kills, slots=1, **odd)
    check_books(sweep, storage)
    assert sweep.outcomes() == whole.outcomes()
    assert sweep.verdicts() == whole.verdicts()
    assert {d["trial_id"]: d["reason"] for d in decided(storage)} == {
        d["trial_id"]: d["reason"] for d in decided(whole.storage)
    }


@given(kills=kills, slots=st.integers(2, 6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_killed_sweep_on_many_slots_keeps_its_books_and_its_winner(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, bool]], slots: int, seed: int
) -> None:
    # With several slots, what arrives first decides which waiting trial fills a slot that would stay idle: single
    # stopped trials may get further than without the kill. What was decided stays, and the best one still wins.
    whole = SimulatedSweep(small_spec(), Storage(tmp_path_factory.mktemp("whole")), slots=1).run()
    sweep, storage = run_through_kills(
        tmp_path_factory.mktemp("killed"), small_spec(), kills, slots=slots, duration=uneven(seed), **ODD
    )
    check_books(sweep, storage)
    assert best_of(sweep) == best_of(whole)


def best_of(sweep: SimulatedSweep) -> str:
    done = [entry for entry in sweep.coordinator.trials.values() if entry.outcome is Outcome.COMPLETED]
    return min(done, key=lambda entry: entry.scores["eval/loss"]).trial_id


@pytest.mark.parametrize(
    "searcher", [{"kind": "tpe", "startup_trials": 3}, {"kind": "nsga2", "objectives": TWO}], ids=["tpe", "nsga2"]
)
@given(kills=kills)
@settings(deadline=None, max_examples=8)
def test_killed_sweep_of_a_learning_searcher_fills_its_trials(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, bool]], searcher: dict[str, Any]
) -> None:
    spec = small_spec(searcher=searcher, search_space=OPEN_ENDED, budget={"trials": 9, "samples": 64})
    sweep, storage = run_through_kills(tmp_path_factory.mktemp("killed"), spec, kills, slots=2)
    check_books(sweep, storage)
    assert len(sweep.coordinator.trials) == 9


@pytest.mark.parametrize(
    "searcher",
    [
        {"kind": "tpe", "startup_trials": 3},
        {"kind": "gp", "startup_trials": 3},
        {"kind": "nsga2", "startup_trials": 3, "objectives": TWO},
    ],
    ids=["tpe", "gp", "nsga2"],
)
@given(kills=kills)
@settings(deadline=None, max_examples=5)
def test_killed_sweep_proposes_what_the_uninterrupted_one_does(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, bool]], searcher: dict[str, Any]
) -> None:
    spec = small_spec(searcher=searcher, search_space=OPEN_ENDED, budget={"trials": 9, "samples": 64})
    whole = SimulatedSweep(spec, Storage(tmp_path_factory.mktemp("whole")), slots=1).run()
    sweep, _ = run_through_kills(tmp_path_factory.mktemp("killed"), spec, kills, slots=1)
    assert list(sweep.coordinator.trials) == list(whole.coordinator.trials)
    assert sweep.outcomes() == whole.outcomes()


def test_worker_ahead_of_the_journal_hands_in_its_report_again(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with pytest.raises(Killed):
        # 12 trials are listed; the 14th write would have been the second milestone.
        SimulatedSweep(small_spec(), storage, slots=1, lives=14, after=False).run()
    milestones = [record for record in journal_lines(storage.journal) if record["kind"] == "milestone"]
    assert sum(storage.trained.values()) == len(milestones) + 1
    sweep = SimulatedSweep(small_spec(), storage, slots=1).run()
    check_books(sweep, storage)


def test_finished_sweep_has_nothing_left_to_do(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    first = SimulatedSweep(small_spec(), storage).run()
    written = storage.journal.read_bytes()
    second = SimulatedSweep(small_spec(), storage).run()
    assert not second.started
    assert second.outcomes() == first.outcomes()
    assert storage.journal.read_bytes() == written


def test_begun_trials_go_first_after_a_restart(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    record = SimulatedSweep(small_spec(), storage, record=True, slots=2, lives=12 + 3)
    with pytest.raises(Killed):
        record.run()
    begun = [trial for trial, index in storage.trained]
    again = SimulatedSweep(small_spec(), storage, record=True, slots=2).run()
    assert set(again.started[:2]) == set(begun)
