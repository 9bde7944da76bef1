"""Sweeps that go on after their end: more trials, another search space, larger budgets; old trials stay what they were."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_controls import ControlledSweep, folder_of
from test_coordinator import OPEN_ENDED, check_books

from orchestrator.api.run.extension import as_extended
from orchestrator.coordinating.continued_trials import continued_record, inexact, milestones
from orchestrator.errors import InputError
from orchestrator.history.journal_facts import is_complete, standing_plan, sweep_content
from orchestrator.records import Outcome, Role, TrialConfig
from orchestrator.spec.search_space.enumeration import config_at, cube_dimensions, grid_configs, holds
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.journal import Journal, read_journal
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import read_entries
from tests.worlds.journals.lines import as_record, journal_lines
from tests.worlds.tuning_worlds import Killed, SimulatedSweep, Storage, small_spec

SEARCHERS = ["sobol", "random", "tpe"]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return begun(tmp_path)


def begun(place: Path) -> Storage:
    folder = SweepFolder(place, "tiny")
    folder.root.mkdir()
    return Storage(folder.root)


def open_spec(searcher: str, trials: int, **changes: Any) -> SweepSpec:
    kind = {"kind": searcher, "startup_trials": 4} if searcher == "tpe" else searcher
    budget = {"trials": trials, "samples": 64}
    return small_spec(**{"searcher": kind, "search_space": OPEN_ENDED, "budget": budget, **changes})


def tell_extension(storage: Storage, spec: SweepSpec, plan: Any) -> None:
    journal = Journal(storage.journal)
    journal.append(
        as_record("extend", {"content": {**spec.content(), "record": False}, "plan": asdict(plan), "who": "ann"})
    )
    journal.close()


def begin(storage: Storage, spec: SweepSpec, **how: Any) -> SimulatedSweep:
    """Run a sweep to its end, with the record that a driver begins its journal with."""
    plan = SimulatedSweep(spec, Storage(storage.folder.parent / "unused"), **how).plan
    journal = Journal(storage.journal)
    content = {**spec.content(), "record": False}
    journal.append(as_record("sweep", {"sweep_id": "s", "content": content, "inputs": {}, "plan": asdict(plan)}))
    journal.close()
    return SimulatedSweep(spec, storage, **how).run()


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("forecast", [False, True])
def test_more_trials_join_the_old_ones(storage: Storage, searcher: str, forecast: bool) -> None:
    first = begin(storage, open_spec(searcher, 8), forecast=forecast)
    before, told = first.outcomes(), first.verdicts()
    longer = open_spec(searcher, 13)
    tell_extension(storage, longer, SimulatedSweep(longer, Storage(storage.folder.parent / "unused2")).plan)
    sweep = SimulatedSweep(longer, storage, forecast=forecast).run()
    assert len(sweep.coordinator.trials) == 13
    assert {key: sweep.outcomes()[key] for key in before} == before, "nothing stopped is revived"
    assert {key: sweep.verdicts()[key] for key in told} == told
    assert max(storage.trained.values()) == 1
    new = [entry for key, entry in sweep.coordinator.trials.items() if key not in before]
    assert len(new) == 5
    assert all(entry.outcome.is_final for entry in new)
    assert all(entry.trial_id in sweep.coordinator.engine.trials for entry in new)
    check_books(sweep, storage)


def test_new_trials_are_judged_against_the_old_ones(storage: Storage) -> None:
    # The old trials are all better than whatever comes: then the new ones go no further than the first rung.
    def loss(config: TrialConfig, samples: int) -> float:
        return (1.0 if config.seed == 0 else 9.0) + config.learning_rate / samples

    first = begin(storage, open_spec("sobol", 8), loss=loss)
    space = {**OPEN_ENDED, "seed": 1}
    later = open_spec("sobol", 12, search_space=space)
    tell_extension(storage, later, first.plan)
    sweep = SimulatedSweep(later, storage, loss=loss).run()
    new = [entry for entry in sweep.coordinator.trials.values() if entry.config.seed == 1]
    assert len(new) == 4
    assert all(entry.outcome is Outcome.STOPPED for entry in new), [entry.outcome for entry in new]


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_another_range_is_searched_after_the_old_one(storage: Storage, searcher: str) -> None:
    begin(storage, open_spec(searcher, 8))
    old = set(read_entries(read_journal(storage.journal)))
    space = {**OPEN_ENDED, "method": "full", "learning_rate": {"log_uniform": [1e-3, 1e-2]}, "weight_decay": [0.0, 0.1]}
    later = open_spec(searcher, 12, search_space=space)
    tell_extension(storage, later, standing_plan(read_journal(storage.journal)))
    sweep = SimulatedSweep(later, storage).run()
    new = [entry for key, entry in sweep.coordinator.trials.items() if key not in old]
    assert len(new) == 4
    assert all(holds(later.search_space, entry.config) for entry in new)
    names = {record["trial"]: record["name"] for record in journal_lines(storage.journal) if record["kind"] == "trial"}
    assert all(sweep.coordinator.trials[key].name == names[key] for key in old), "old trials keep their names"


@given(
    kills=st.lists(st.tuples(st.integers(1, 25), st.booleans()), min_size=1, max_size=3),
    searcher=st.sampled_from(SEARCHERS),
)
@settings(deadline=None, max_examples=15)
def test_killed_extension_goes_on(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, bool]], searcher: str
) -> None:
    place = tmp_path_factory.mktemp("extension")
    storage = begun(place)
    begin(storage, open_spec(searcher, 6))
    longer = open_spec(searcher, 10)
    tell_extension(storage, longer, SimulatedSweep(longer, Storage(place / "unused2")).plan)
    for lives, after in kills:
        try:
            SimulatedSweep(longer, storage, lives=lives, after=after).run()
        except Killed:
            continue
    sweep = SimulatedSweep(longer, storage).run()
    assert len(sweep.coordinator.trials) == 10
    assert all(entry.outcome.is_final for entry in sweep.coordinator.trials.values())
    assert max(storage.trained.values()) == 1
    check_books(sweep, storage)


def test_extended_sweep_is_found_again_by_its_first_file(storage: Storage) -> None:
    spec = open_spec("sobol", 6)
    begin(storage, spec)
    longer = open_spec("sobol", 9, search_space={**OPEN_ENDED, "weight_decay": [0.0, 0.1]})
    plan = replace(standing_plan(read_journal(storage.journal)), trials=9)
    tell_extension(storage, longer, plan)
    records = read_journal(storage.journal)
    assert as_extended(spec, records).content() == longer.content()
    assert standing_plan(records) == plan
    assert sweep_content(records)["budget"]["trials"] == 9
    assert not is_complete(records)


# -- whether a configuration lies in a search space ------------------------------------------------------


@given(point=st.lists(st.floats(0, 0.999), min_size=8, max_size=8), seed=st.integers(0, 1))
def test_a_search_space_holds_what_is_drawn_from_it(point: list[float], seed: int) -> None:
    space = small_spec(
        search_space={
            "method": {"full": {}, "lora": {"r": [4, 8]}},
            "effective_batch_size": {"integer": [4, 32], "step": 4},
            "schedule": ["constant", {"name": "wsd", "decay_share": 0.2}],
            "warmup": [0, {"ratio": 0.1}],
            "weight_decay": {"uniform": [0.0, 0.5]},
            "clip_norm": [None, 1.0],
            "repeats": 2,
        },
        searcher="sobol",
    ).search_space
    config = replace(config_at(space, point[: cube_dimensions(space)], 64), seed=seed)
    assert holds(space, config)
    assert not holds(space, replace(config, seed=2))
    assert not holds(space, replace(config, weight_decay=0.9))
    assert not holds(space, replace(config, method="ia3"))
    assert not holds(space, replace(config, method_options={**config.method_options, "lora_alpha": 3}))


# -- larger budgets --------------------------------------------------------------------------------------


def completed(storage: Storage) -> tuple[ControlledSweep, Any]:
    sweep = ControlledSweep(small_spec(), storage, slots=1).run()
    done = next(e for e in sweep.coordinator.trials.values() if e.outcome is Outcome.COMPLETED)
    return sweep, done


def test_best_trial_is_trained_on_as_a_trial_of_its_own(storage: Storage) -> None:
    first, parent = completed(storage)
    record = continued_record(parent, 128, first.plan.levels, False, "ann asked")
    sweep = ControlledSweep(small_spec(), storage, slots=1)
    sweep.coordinator.restore()
    sweep.coordinator.add_by_user(record)
    assignment = sweep.coordinator.next_assignment()
    assert assignment is not None
    assert (assignment.trial_id, assignment.takes, assignment.levels) == (record.trial, "training", (96, 128))
    entry = sweep.coordinator.trials[record.trial]
    assert (entry.samples_seen, entry.samples_trained, entry.role) == (64, 0, Role.EXTENDED)
    assert entry.config == replace(parent.config, samples=128)
    tags = storage.tracker.runs[entry.trial_id].tags
    assert (tags["role"], tags["origin.takes"], tags["origin.trial"]) == ("extended", "training", parent.trial_id)
    sweep.journal.close()
    again = read_entries(read_journal(storage.journal))[entry.trial_id]
    assert (again.levels, again.origin, again.samples_seen) == (entry.levels, entry.origin, 64)
    assert folder_of(storage).start(entry.trial_id).name == "start"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schedule": "cosine"}, "schedule cosine"),
        ({"effective_batch_size": 24}, "cut at its budget"),
        ({"data_strategy": "phased"}, "phased"),
        ({"method": "adalora", "method_options": {}}, "adalora"),
        ({"warmup_unit": "ratio", "warmup_amount": 0.9}, "warm-up"),
    ],
)
def test_budget_that_cannot_grow_exactly_needs_a_restart(storage: Storage, change: dict[str, Any], why: str) -> None:
    first, parent = completed(storage)
    parent.config = replace(parent.config, **change)
    with pytest.raises(InputError, match=why):
        continued_record(parent, 128, first.plan.levels, False, "ann asked")
    record = continued_record(parent, 128, first.plan.levels, True, "ann asked")
    assert (record.origin.takes, record.config.samples, record.levels[-1]) == ("weights", 64, 64)


def test_constant_rate_after_warm_up_goes_on_exactly() -> None:
    config = grid_configs(small_spec().search_space, 64)[0]
    assert inexact(config, 128) == ""
    assert inexact(replace(config, warmup_unit="ratio", warmup_amount=0.1), 128) == ""


@given(start=st.integers(0, 10_000), more=st.integers(1, 100_000), spacing=st.integers(1, 5_000))
def test_milestones_of_a_larger_budget_rise_to_it(start: int, more: int, spacing: int) -> None:
    levels = milestones(start, start + more, spacing)
    assert levels[-1] == start + more
    assert list(levels) == sorted(set(levels))
    assert levels[0] > start
    assert len(levels) <= 17
