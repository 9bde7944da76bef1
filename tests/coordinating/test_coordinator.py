"""The coordinator without Ray: every trial ends, samples add up, and no order of events gets it stuck."""

import itertools
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.coordinating.coordinator import FAILURE_RULE
from orchestrator.records import Action, Outcome, TrialConfig
from tests.worlds.tuning_worlds import SimulatedSweep, Storage, formula_loss, small_spec


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


def uneven(seed: int) -> Any:
    """Return a duration that differs from trial to trial and milestone to milestone, the same in every run."""
    return lambda config, level: 1 + hash((seed, config.learning_rate, config.effective_batch_size, level)) % 97 / 10


def check_books(sweep: SimulatedSweep, storage: Storage) -> None:
    """Check what must hold at the end of any sweep."""
    coordinator = sweep.coordinator
    assert coordinator.finished
    assert all(entry.outcome.is_final for entry in coordinator.trials.values())
    assert max(storage.trained.values()) == 1, "a milestone was trained twice"
    milestones = Counter(trial_id for trial_id, _ in storage.trained)
    for entry in coordinator.trials.values():
        assert entry.milestones == milestones[entry.trial_id]
        assert entry.verdict is not None
        assert entry.verdict.reason
        reached = [
            report.samples_seen for (trial, _), (report, _) in storage.reports.items() if trial == entry.trial_id
        ]
        assert entry.samples_seen == max(reached, default=0)
        assert entry.training_seconds == entry.milestones
        assert entry.evaluation_seconds == entry.milestones / 2
        if entry.outcome is Outcome.COMPLETED:
            assert entry.samples_seen == sweep.plan.samples
    check_tracking(sweep, storage)


def check_tracking(sweep: SimulatedSweep, storage: Storage) -> None:
    """Check that the tracker's runs say how the trials ended."""
    status = {"completed": "FINISHED", "stopped": "KILLED", "diverged": "KILLED", "failed": "FAILED"}
    for entry in sweep.coordinator.trials.values():
        run = storage.tracker.runs[entry.trial_id]
        assert (run.status, run.tags["outcome"]) == (status[entry.outcome.value], entry.outcome.value)


@given(
    slots=st.integers(1, 7), seed=st.integers(0, 99), factor=st.sampled_from([2.0, 3.0, 4.0]), quota=st.integers(0, 2)
)
@settings(deadline=None, max_examples=40)
def test_every_trial_ends_in_any_order_of_arrivals(
    tmp_path_factory: pytest.TempPathFactory, slots: int, seed: int, factor: float, quota: int
) -> None:
    storage = Storage(tmp_path_factory.mktemp("sweep"))
    spec = small_spec(stopping={"rungs": {"reduction_factor": factor, "quota_per_method": quota}})
    sweep = SimulatedSweep(spec, storage, slots=slots, duration=uneven(seed)).run()
    check_books(sweep, storage)
    assert len(sweep.coordinator.trials) == sweep.plan.trials
    best = min(sweep.coordinator.trials.values(), key=lambda entry: formula_loss(entry.config, 64))
    assert best.outcome is Outcome.COMPLETED


def test_rungs_save_samples(storage: Storage) -> None:
    sweep = SimulatedSweep(small_spec(), storage).run()
    check_books(sweep, storage)
    counts = Counter(outcome for outcome, _ in sweep.outcomes().values())
    assert counts[Outcome.STOPPED] > counts[Outcome.COMPLETED] >= 1
    assert sum(samples for _, samples in sweep.outcomes().values()) < sweep.plan.exhaustive_samples / 2


def test_record_mode_stops_nothing(storage: Storage) -> None:
    sweep = SimulatedSweep(small_spec(), storage, record=True).run()
    check_books(sweep, storage)
    assert set(sweep.outcomes().values()) == {(Outcome.COMPLETED, 64)}
    assert sum(samples for _, samples in sweep.outcomes().values()) == sweep.plan.exhaustive_samples


def test_rungs_switched_off_stop_nothing(storage: Storage) -> None:
    sweep = SimulatedSweep(small_spec(stopping={"rungs": {"enabled": False}}), storage).run()
    assert set(sweep.outcomes().values()) == {(Outcome.COMPLETED, 64)}


@pytest.mark.parametrize("slots", [1, 3])
def test_diverged_and_failed_trials_do_not_hold_others_up(storage: Storage, slots: int) -> None:
    sweep = SimulatedSweep(
        small_spec(),
        storage,
        slots=slots,
        diverges=lambda config: config.learning_rate == 1e-2,
        fails=lambda config: config.learning_rate == 1e-5,
    ).run()
    check_books(sweep, storage)
    by_rate: dict[float, set[Outcome]] = {}
    for entry in sweep.coordinator.trials.values():
        by_rate.setdefault(entry.config.learning_rate, set()).add(entry.outcome)
    assert by_rate[1e-2] == {Outcome.DIVERGED}
    assert by_rate[1e-5] == {Outcome.FAILED}
    assert Outcome.COMPLETED in by_rate[3e-5] | by_rate[1e-3]
    failed = next(entry for entry in sweep.coordinator.trials.values() if entry.outcome is Outcome.FAILED)
    assert failed.verdict is not None
    assert (failed.verdict.rule, failed.samples_seen) == (FAILURE_RULE, 0)


def test_sweep_of_nothing_but_failures_ends(storage: Storage) -> None:
    sweep = SimulatedSweep(small_spec(), storage, fails=lambda config: True).run()
    assert {outcome for outcome, _ in sweep.outcomes().values()} == {Outcome.FAILED}
    again = SimulatedSweep(small_spec(), storage).run()
    assert again.outcomes() == sweep.outcomes()
    assert not again.started


def test_known_milestones_are_not_counted_twice(storage: Storage) -> None:
    sweep = SimulatedSweep(small_spec(), storage).run()
    before = (sweep.outcomes(), len(sweep.journal.records))
    for report in list(storage.reports.values()):
        action = sweep.coordinator.report(*report)
        assert action is Action.STOP
    assert (sweep.outcomes(), len(sweep.journal.records)) == before


def test_stopping_pauses_at_the_next_milestone_and_resumes(storage: Storage) -> None:
    first = SimulatedSweep(small_spec(), storage, slots=3)
    first.run(until=lambda: _stop_after(first, 7))
    assert first.coordinator.finished
    assert not first.coordinator.running
    assert first.coordinator.open_trials
    assert 7 <= sum(storage.trained.values()) <= 7 + 3
    second = SimulatedSweep(small_spec(), storage, slots=3).run()
    check_books(second, storage)


def _stop_after(sweep: SimulatedSweep, trained: int) -> bool:
    if sum(sweep.storage.trained.values()) >= trained:
        sweep.coordinator.stopping = True
    return False


def test_past_deadline_starts_nothing(storage: Storage) -> None:
    sweep = SimulatedSweep(small_spec(), storage, deadline=time.monotonic() - 1).run()
    assert not storage.trained
    assert sweep.coordinator.open_trials


def test_deadline_pauses_and_a_later_run_goes_on(storage: Storage) -> None:
    def slow_loss(config: TrialConfig, samples: int) -> float:
        time.sleep(0.02)
        return formula_loss(config, samples)

    first = SimulatedSweep(small_spec(), storage, loss=slow_loss, deadline=time.monotonic() + 0.2).run()
    assert first.coordinator.finished
    assert 1 <= sum(storage.trained.values()) <= 12
    assert first.coordinator.open_trials
    second = SimulatedSweep(small_spec(), storage).run()
    check_books(second, storage)


OPEN_ENDED = {
    "method": {
        "full": {"learning_rate": {"log_uniform": [1e-6, 1e-3]}},
        "lora": {"learning_rate": {"log_uniform": [1e-5, 1e-1]}, "r": [4, 8]},
    },
    "effective_batch_size": [8, 16],
}
TWO = [{"metric": "eval/loss"}, {"metric": "other/loss"}]


@pytest.mark.parametrize(
    "searcher", ["random", "sobol", {"kind": "tpe", "startup_trials": 3}, {"kind": "nsga2", "objectives": TWO}], ids=str
)
@pytest.mark.parametrize("slots", [1, 4])
def test_searchers_fill_the_number_of_trials(storage: Storage, searcher: Any, slots: int) -> None:
    spec = small_spec(searcher=searcher, search_space=OPEN_ENDED, budget={"trials": 14, "samples": 64})
    sweep = SimulatedSweep(spec, storage, slots=slots, duration=uneven(3)).run()
    check_books(sweep, storage)
    assert len(sweep.coordinator.trials) == 14


def test_learning_searcher_ends_with_a_finite_space(storage: Storage) -> None:
    spec = small_spec(searcher="tpe", budget={"trials": 500, "samples": 64})
    sweep = SimulatedSweep(spec, storage).run()
    check_books(sweep, storage)
    assert len(sweep.coordinator.trials) == 12


@pytest.mark.parametrize("rungs", [True, False], ids=["rungs", "no rungs"])
def test_learning_searcher_profits_from_what_it_is_told(tmp_path: Path, rungs: bool) -> None:
    losses: dict[str, list[float]] = {"random": [], "tpe": []}
    for kind, seed in itertools.product(losses, range(3)):
        spec = small_spec(
            searcher={"kind": kind, "seed": seed},
            search_space=OPEN_ENDED,
            budget={"trials": 40, "samples": 64},
            stopping={"rungs": {"enabled": rungs}},
        )
        sweep = SimulatedSweep(spec, Storage(tmp_path / f"{kind}{seed}")).run()
        late = itertools.islice(sweep.coordinator.trials.values(), 20, None)
        losses[kind] += [formula_loss(entry.config, 64) for entry in late]
    assert statistics.mean(losses["tpe"]) < statistics.mean(losses["random"]) - 0.1
