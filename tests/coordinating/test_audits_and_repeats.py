"""Audits and repeats beside the search: they never disturb it, end as they should, and survive a kill at any moment."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_coordinator import OPEN_ENDED, check_books, uneven
from test_coordinator_restart import ODD, run_through_kills

from orchestrator.coordinating.audits_and_repeats import recipe_of
from orchestrator.coordinating.queues import Assignment
from orchestrator.history.after_search import audit_result, make_draw, winner_verdict
from orchestrator.records import Outcome, Role, TrialConfig
from orchestrator.storage.journal import read_journal
from orchestrator.storage.trial_entries import TrialEntry, read_entries
from tests.worlds.journals.lines import journal_lines
from tests.worlds.tuning_worlds import SimulatedSweep, Storage, formula_loss, small_spec


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def spec_with(audit: float = 0.0, repeats: int = 0, candidates: int = 3, **changes: Any) -> Any:
    rungs = {"reduction_factor": 2, "quota_per_method": 1, "levels": [0.125, 0.25]}  # three or more complete
    stopping = {"rungs": rungs, "audit": audit}
    return small_spec(stopping=stopping, winner={"repeats": repeats, "candidates": candidates}, **changes)


def of_role(sweep: SimulatedSweep, role: Role) -> list[TrialEntry]:
    return [entry for entry in sweep.coordinator.trials.values() if entry.role is role]


def search_records(storage: Storage) -> list[dict[str, Any]]:
    """Return what the journal says of the search, without times."""
    kinds = ("trial", "milestone", "decision", "failure")
    rows = [record for record in journal_lines(storage.journal) if record["kind"] in kinds and "role" not in record]
    return [{key: value for key, value in row.items() if key not in ("time", "epoch")} for row in rows]


def noisy_loss(config: TrialConfig, samples: int) -> float:
    """The formula, with a scatter between seeds that is small against the distances of the recipes."""
    scatter = (hash((config.seed, config.learning_rate, config.effective_batch_size)) % 97 - 48) / 48
    return formula_loss(config, samples) + 0.002 * scatter - 0.01 * config.seed


# -- the search is left alone --------------------------------------------------------------------------


class WatchedSweep(SimulatedSweep):
    """Looks at every start: every trial that the search may still want to train has a slot left."""

    def _start(self, assignment: Assignment) -> None:
        super()._start(assignment)
        coordinator = self.coordinator
        extra = [entry for entry in coordinator.running if not entry.in_search]
        if extra:
            wanted = [entry for entry in coordinator.trials.values() if entry.in_search and not entry.outcome.is_final]
            assert len(extra) + len(wanted) <= self.slots


@given(
    slots=st.integers(1, 6),
    seed=st.integers(0, 99),
    audit=st.floats(0, 1),
    repeats=st.sampled_from([0, 2, 3]),
    odd=st.booleans(),
    forecast=st.booleans(),
)
@settings(deadline=None, max_examples=40)
@example(slots=6, seed=15, audit=1.0, repeats=0, odd=False, forecast=True)
def test_search_is_the_same_with_and_without(
    tmp_path_factory: pytest.TempPathFactory,
    slots: int,
    seed: int,
    audit: float,
    repeats: int,
    odd: bool,
    forecast: bool,
) -> None:
    how: dict[str, Any] = {"slots": slots, "duration": uneven(seed), "forecast": forecast, **(ODD if odd else {})}
    alone = SimulatedSweep(spec_with(), Storage(tmp_path_factory.mktemp("alone")), **how).run()
    sweep = WatchedSweep(spec_with(audit, repeats), Storage(tmp_path_factory.mktemp("beside")), **how).run()
    assert search_records(sweep.storage)[: len(search_records(alone.storage))] == search_records(alone.storage)
    assert [each for each in sweep.arrivals if each in set(alone.arrivals)] == alone.arrivals, "to the second"
    check_books(sweep, sweep.storage)
    stops = [entry for entry in sweep.coordinator.trials.values() if entry.stop or entry.outcome is Outcome.STOPPED]
    assert len(of_role(sweep, Role.AUDIT)) == make_draw(spec_with(audit)).count(len(stops))


def test_learning_searcher_hears_of_its_own_trials_alone(storage: Storage, tmp_path: Path) -> None:
    space = {
        "searcher": {"kind": "tpe", "startup_trials": 3},
        "search_space": OPEN_ENDED,
        "budget": {"trials": 12, "samples": 64},
    }
    alone = SimulatedSweep(spec_with(**space), Storage(tmp_path / "alone"), slots=1).run()
    sweep = SimulatedSweep(spec_with(1.0, 2, **space), storage, slots=1).run()
    proposed = [key for key, entry in sweep.coordinator.trials.items() if entry.role is not Role.REPEAT]
    assert proposed == list(alone.coordinator.trials)
    assert of_role(sweep, Role.AUDIT)
    assert of_role(sweep, Role.REPEAT)
    check_books(sweep, storage)


def test_finite_space_of_a_learning_searcher_is_repeated_too(storage: Storage) -> None:
    spec = spec_with(0.5, 2, searcher="tpe", budget={"trials": 500, "samples": 64})
    sweep = SimulatedSweep(spec, storage).run()
    assert len(of_role(sweep, Role.REPEAT)) >= 4
    assert SimulatedSweep(spec, storage).run().outcomes() == sweep.outcomes()


# -- audits --------------------------------------------------------------------------------------------


def test_audited_trials_are_trained_to_their_end(storage: Storage) -> None:
    sweep = SimulatedSweep(spec_with(audit=1.0), storage).run()
    check_books(sweep, storage)
    audited = of_role(sweep, Role.AUDIT)
    assert len(audited) >= 6
    for entry in audited:
        assert entry.outcome is Outcome.COMPLETED
        assert entry.stop is not None
        assert entry.stopped_at == entry.stop.samples_seen < entry.samples_seen == 64
        run = storage.tracker.runs[entry.trial_id]
        assert (run.status, run.tags["role"], run.tags["outcome"]) == ("FINISHED", "audit", "completed")
        assert run.tags["stop.reason"] == entry.stop.reason
        assert run.name.endswith("· audit")
        assert [step for step, _, _ in run.metrics["eval/loss"]] == [8, 16, 32, 64][
            -entry.milestones :
        ] or entry.milestones > 4
    reasons = [record["decision"]["reason"] for record in storage_records(storage, "audit")]
    assert len(reasons) == len(audited)
    assert all("for the audit" in reason for reason in reasons)


def storage_records(storage: Storage, kind: str) -> list[dict[str, Any]]:
    return [record for record in journal_lines(storage.journal) if record["kind"] == kind]


def test_nobody_but_divergence_stops_an_audit(storage: Storage) -> None:
    def diverges_late(config: TrialConfig) -> bool:
        return config.learning_rate == 1e-2 and late

    late = False
    sweep = SimulatedSweep(spec_with(audit=1.0), storage, diverges=diverges_late)
    sweep.run(until=lambda: bool(of_role(sweep, Role.AUDIT)))
    late = True
    SimulatedSweep(spec_with(audit=1.0), storage, diverges=diverges_late).run()
    entries = read_entries(read_journal(storage.journal)).values()
    audited = [entry for entry in entries if entry.role is Role.AUDIT]
    outcomes = Counter(entry.outcome for entry in audited)
    assert outcomes[Outcome.DIVERGED] >= 1
    assert set(outcomes) == {Outcome.DIVERGED, Outcome.COMPLETED}
    found = audit_result(spec_with(audit=1.0), list(entries))
    assert found is not None
    assert found.ended == len(audited)


def test_failed_audit_says_nothing_and_ends(storage: Storage) -> None:
    sweep = SimulatedSweep(spec_with(audit=1.0), storage)
    sweep.run(until=lambda: bool(of_role(sweep, Role.AUDIT)))
    again = SimulatedSweep(spec_with(audit=1.0), storage, fails=lambda config: True).run()
    assert {entry.outcome for entry in of_role(again, Role.AUDIT)} == {Outcome.FAILED}
    found = audit_result(spec_with(audit=1.0), list(again.coordinator.trials.values()))
    assert found is not None
    assert (found.ended, found.failed, found.verdict) == (0, len(of_role(again, Role.AUDIT)), "unknown")


def test_false_stops_are_found(storage: Storage) -> None:
    """A recipe that is worst early and best at the end is stopped, and the audit says so."""

    def crossing(config: TrialConfig, samples: int) -> float:
        late_bloomer = config.method == "lora" and config.learning_rate == 1e-3
        return 0.1 if late_bloomer and samples == 64 else 9.0 if late_bloomer else formula_loss(config, samples)

    spec = spec_with(audit=1.0)
    sweep = SimulatedSweep(spec, storage, loss=crossing).run()
    found = audit_result(spec, list(sweep.coordinator.trials.values()))
    assert found is not None
    assert found.beat_best is not None
    assert (found.beat_best.count, found.beat_best.total) == (2, found.stopped)
    assert found.regret is not None
    assert found.regret > 0
    assert "2 of" in found.sentence
    assert "better than" in found.sentence


# -- repeats -------------------------------------------------------------------------------------------


def test_best_recipes_get_the_same_new_seeds(storage: Storage) -> None:
    spec = spec_with(repeats=3)
    sweep = SimulatedSweep(spec, storage, loss=noisy_loss).run()
    check_books(sweep, storage)
    seeds: dict[str, set[int]] = {}
    for entry in of_role(sweep, Role.REPEAT):
        seeds.setdefault(recipe_of(entry.config), set()).add(entry.config.seed)
    assert len(seeds) == 3
    assert {frozenset(each) for each in seeds.values()} <= {frozenset({1, 2}), frozenset({1, 2, 3})}
    verdict = winner_verdict(spec, list(sweep.coordinator.trials.values()))
    assert verdict is not None
    assert verdict.verdict == "decided"
    assert verdict.recipes[0].name == "full lr3e-5 ebs8"
    assert verdict.samples == 64 * verdict.repeats == 64 * len(of_role(sweep, Role.REPEAT))
    for entry in of_role(sweep, Role.REPEAT):
        run = storage.tracker.runs[entry.trial_id]
        assert (run.status, run.tags["role"], run.name) == ("FINISHED", "repeat", f"{entry.name} · repeat")


def test_tied_recipes_recommend_the_cheapest(storage: Storage) -> None:
    def same(config: TrialConfig, samples: int) -> float:
        return (
            formula_loss(config, samples) if samples < 64 else 1 + hash((config.seed, config.learning_rate)) % 89 / 100
        )

    spec = spec_with(repeats=3, candidates=2)
    sweep = SimulatedSweep(spec, storage, loss=same).run()
    for entry in sweep.coordinator.trials.values():
        entry.training_seconds = 10.0 * entry.config.effective_batch_size
    verdict = winner_verdict(spec, list(sweep.coordinator.trials.values()))
    assert verdict is not None
    assert verdict.verdict == "tied"
    assert verdict.repeats == 6
    assert verdict.recipes[0].training_seconds == min(recipe.training_seconds for recipe in verdict.recipes)


def test_failed_repeat_ends_the_sweep_all_the_same(storage: Storage) -> None:
    spec = spec_with(repeats=2)
    sweep = SimulatedSweep(spec, storage, fails=lambda config: config.seed > 0 and config.method == "lora").run()
    assert sweep.coordinator.finished
    verdict = winner_verdict(spec, list(sweep.coordinator.trials.values()))
    assert verdict is not None
    assert verdict.verdict in ("decided", "tied")
    failed = [entry for entry in of_role(sweep, Role.REPEAT) if entry.outcome is Outcome.FAILED]
    assert all(storage.tracker.runs[entry.trial_id].status == "FAILED" for entry in failed)


def test_recorded_sweep_is_repeated_and_has_nothing_to_audit(storage: Storage) -> None:
    spec = spec_with(audit=1.0, repeats=2)
    sweep = SimulatedSweep(spec, storage, record=True).run()
    assert not of_role(sweep, Role.AUDIT)
    assert of_role(sweep, Role.REPEAT)
    found = audit_result(spec, list(sweep.coordinator.trials.values()))
    assert found is not None
    assert found.sentence == "No trial was stopped by comparison, so there is nothing to audit."


# -- restarts ------------------------------------------------------------------------------------------

kills = st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=5)


@pytest.mark.parametrize("odd", [{}, ODD], ids=["sound", "odd"])
@given(kills=kills, audit=st.sampled_from([0.3, 1.0]))
@settings(deadline=None, max_examples=20)
def test_killed_sweep_ends_as_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, bool]], audit: float, odd: dict[str, Any]
) -> None:
    spec, how = spec_with(audit, 3), {"slots": 1, "loss": noisy_loss, **odd}
    whole = SimulatedSweep(spec, Storage(tmp_path_factory.mktemp("whole")), **how).run()
    sweep, storage = run_through_kills(tmp_path_factory.mktemp("killed"), spec, kills, **how)
    check_books(sweep, storage)
    assert sweep.outcomes() == whole.outcomes()
    assert sweep.verdicts() == whole.verdicts()
    ours, theirs = (list(each.coordinator.trials.values()) for each in (sweep, whole))
    assert audit_result(spec, ours) == audit_result(spec, theirs)
    assert winner_verdict(spec, ours) == winner_verdict(spec, theirs)


@given(kills=kills, slots=st.integers(2, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_killed_sweep_on_many_slots_keeps_its_books(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, bool]], slots: int, seed: int
) -> None:
    sweep, storage = run_through_kills(
        tmp_path_factory.mktemp("killed"), spec_with(0.5, 2), kills, slots=slots, duration=uneven(seed), **ODD
    )
    check_books(sweep, storage)


@pytest.mark.parametrize("role", [Role.AUDIT, Role.REPEAT])
def test_kill_half_way_through(storage: Storage, role: Role) -> None:
    spec = spec_with(0.5, 2)
    first = SimulatedSweep(spec, storage)
    first.run(until=lambda: any(0 < entry.milestones < 4 and entry.launched for entry in _training(first, role)))
    begun = {entry.trial_id: entry.milestones for entry in _training(first, role)}
    assert begun
    second = SimulatedSweep(spec, storage).run()
    assert set(begun) & set(second.started[:2]), "what had begun goes first"
    check_books(second, storage)
    runs = storage.tracker.runs
    assert all(runs[trial_id].status == "FINISHED" for trial_id in begun)


def _training(sweep: SimulatedSweep, role: Role) -> list[TrialEntry]:
    return [entry for entry in of_role(sweep, role) if entry.outcome is Outcome.RUNNING]


@pytest.mark.parametrize("role", [Role.AUDIT, Role.REPEAT])
def test_interrupt_saves_and_a_later_run_goes_on(storage: Storage, role: Role) -> None:
    def interrupt() -> bool:
        first.coordinator.stopping = first.coordinator.stopping or bool(_training(first, role))
        return False

    spec = spec_with(0.5, 2)
    first = SimulatedSweep(spec, storage)
    first.run(until=interrupt)
    assert first.coordinator.finished
    assert first.coordinator.open_trials
    check_books(SimulatedSweep(spec, storage).run(), storage)


def test_audit_and_repeats_can_be_asked_for_after_the_end(storage: Storage) -> None:
    first = SimulatedSweep(spec_with(), storage, loss=noisy_loss).run()
    some = SimulatedSweep(spec_with(0.3), storage, loss=noisy_loss).run()
    more = SimulatedSweep(spec_with(0.8, 2), storage, loss=noisy_loss).run()
    audited = [{entry.trial_id for entry in of_role(sweep, Role.AUDIT)} for sweep in (first, some, more)]
    assert audited[0] < audited[1] < audited[2]
    assert of_role(more, Role.REPEAT)
    check_books(more, storage)
    fewer = SimulatedSweep(spec_with(), storage, loss=noisy_loss).run()
    assert not fewer.started
    assert fewer.outcomes() == more.outcomes()


def test_journal_reads_back_as_the_coordinator_knows_it(storage: Storage) -> None:
    sweep = SimulatedSweep(spec_with(0.5, 2), storage).run()
    read = read_entries(read_journal(storage.journal))
    assert read.keys() == sweep.coordinator.trials.keys()
    for trial_id, entry in sweep.coordinator.trials.items():
        other = read[trial_id]
        assert (other.role, other.outcome, other.stop, other.stopped_at, other.begin, other.verdict) == (
            entry.role,
            entry.outcome,
            entry.stop,
            entry.stopped_at,
            entry.begin,
            entry.verdict,
        )


def test_unfinished_audit_is_told_as_such(storage: Storage) -> None:
    spec = spec_with(1.0, 2)
    sweep = SimulatedSweep(spec, storage)
    sweep.run(until=lambda: bool(_training(sweep, Role.AUDIT)))
    entries = list(read_entries(read_journal(storage.journal)).values())
    assert any(entry.role is Role.AUDIT for entry in entries)
    verdict, found = winner_verdict(spec, entries), audit_result(spec, entries)
    assert verdict is not None
    assert found is not None
    assert (verdict.verdict, verdict.sentence) == ("not tested", "Not tested yet: the search goes on.")
    assert found.ended < found.drawn
