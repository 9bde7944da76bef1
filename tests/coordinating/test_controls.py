"""What users ask of single trials: carried out in order, on record, survived by kills, and never learned from as weakness."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_coordinator import check_books, uneven

from orchestrator.coordinating.clones import clone_config
from orchestrator.coordinating.controls import Controls, parse_tag
from orchestrator.errors import InputError
from orchestrator.records import Action, Outcome, Role
from orchestrator.storage.journal import read_journal
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import USER, TrialEntry, read_entries
from orchestrator.storage.user_actions import ControlAction, leave_action, waiting_actions
from orchestrator.tracking.tracker import AskedAction
from tests.worlds.journals.lines import journal_lines
from tests.worlds.tuning_worlds import Killed, SimulatedSweep, Storage, small_spec

SPEC = small_spec()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    folder = SweepFolder(tmp_path, "tiny")
    folder.root.mkdir()
    return Storage(folder.root)


def folder_of(storage: Storage) -> SweepFolder:
    return SweepFolder(storage.folder.parent, storage.folder.name)


class ControlledSweep(SimulatedSweep):
    """Takes actions up before every start, as the driver does on its turn, and saves a checkpoint at every milestone."""

    def __init__(self, spec: Any, storage: Storage, **how: Any) -> None:
        super().__init__(spec, storage, **how)
        self.said: list[str] = []
        self.controls = Controls(
            self.coordinator, self.journal, folder_of(storage), storage.tracker, self.said.append, spec
        )

    def run(self, until: Callable[[], bool] = lambda: False) -> "ControlledSweep":
        super().run(until)
        return self

    def _fill_slots(self) -> None:
        self.controls.take_all()
        self._drop_condemned()
        super()._fill_slots()

    def _finish_one(self) -> None:
        _, _, trial_id, _, index = self._busy[0]
        place = folder_of(self.storage).checkpoint(trial_id, index)
        place.mkdir(parents=True, exist_ok=True)
        (place / "manifest.json").write_text("{}")
        super()._finish_one()


def ask(storage: Storage, kind: Any, trial: str, **more: Any) -> str:
    action = ControlAction(kind, trial, "ann@laptop", **more)
    leave_action(folder_of(storage), action)
    return action.action_id


def answer(storage: Storage, action_id: str) -> tuple[str, str]:
    found = [r for r in journal_lines(storage.journal) if r["kind"] == "action" and r["id"] == action_id]
    assert len(found) == 1, "an action is taken up once"
    return found[0]["state"], found[0]["answer"]


def entry(sweep: SimulatedSweep, trial_id: str) -> TrialEntry:
    return sweep.coordinator.trials[trial_id]


def whole_run(tmp_path: Path) -> SimulatedSweep:
    return SimulatedSweep(SPEC, Storage(tmp_path), slots=2).run()


def trial_of(sweep: SimulatedSweep, outcome: Outcome) -> str:
    return next(each.trial_id for each in sweep.coordinator.trials.values() if each.outcome is outcome)


# -- stop ----------------------------------------------------------------------------------------------


def test_pending_trial_is_stopped_at_once_and_the_search_goes_on_without_it(storage: Storage, tmp_path: Path) -> None:
    best = trial_of(whole_run(tmp_path / "whole"), Outcome.COMPLETED)
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.run(until=lambda: len(sweep.arrivals) == 0)
    asked = ask(storage, "stop", best)
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    assert answer(storage, asked)[0] == "done"
    stopped = entry(sweep, best)
    assert (stopped.outcome, stopped.milestones) == (Outcome.STOPPED, 0)
    assert stopped.verdict is not None
    assert (stopped.verdict.rule, stopped.verdict.action) == (USER, Action.STOP)
    assert "ann@laptop asked for it at 20" in stopped.verdict.reason
    assert best not in sweep.started
    assert trial_of(sweep, Outcome.COMPLETED) != best, "the next best wins"
    assert best not in sweep.coordinator.engine.trials, "nothing is learned from it"
    check_books(sweep, storage)
    run = storage.tracker.runs[best]
    assert (run.status, run.tags["outcome"], run.tags["stop.rule"]) == ("KILLED", "stopped", "user")


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_running_trial_stops_at_its_next_milestone(storage: Storage, slots: int) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=slots)
    asked: list[str] = []
    known: list[int] = []

    def meddle() -> bool:
        if sweep.coordinator.running and not asked:
            running = sweep.coordinator.running[0]
            known.append(running.milestones)
            asked.extend([running.trial_id, ask(storage, "stop", running.trial_id)])
        return False

    sweep.run(until=meddle)
    assert answer(storage, asked[1])[0] == "accepted"
    stopped = entry(sweep, asked[0])
    assert (stopped.outcome, stopped.milestones) == (Outcome.STOPPED, known[0] + 1)
    assert stopped.verdict is not None
    assert stopped.verdict.rule == USER
    assert sum(each.outcome is Outcome.COMPLETED for each in sweep.coordinator.trials.values()) >= 1
    check_books(sweep, storage)


def test_stopping_the_best_in_its_pause_lets_the_next_best_take_its_place(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.run(until=lambda: any(e.outcome is Outcome.PAUSED for e in sweep.coordinator.trials.values()))
    paused = next(e.trial_id for e in sweep.coordinator.trials.values() if e.outcome is Outcome.PAUSED)
    asked = ask(storage, "stop", paused)
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    assert answer(storage, asked)[0] == "done"
    assert entry(sweep, paused).outcome is Outcome.STOPPED
    assert sum(each.outcome is Outcome.COMPLETED for each in sweep.coordinator.trials.values()) >= 1


def test_all_but_one_stopped_by_hand_leaves_that_one_to_win(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.run(until=lambda: True)
    everyone = [each.trial_id for each in sweep.coordinator.trials.values() if not each.outcome.is_final]
    for trial_id in everyone[1:]:
        ask(storage, "stop", trial_id)
    sweep = ControlledSweep(SPEC, storage, slots=1, forecast=True).run()
    assert entry(sweep, everyone[0]).outcome is Outcome.COMPLETED
    assert all(entry(sweep, trial_id).outcome is Outcome.STOPPED for trial_id in everyone[1:])


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.STOPPED])
def test_action_on_a_finished_trial_is_refused(storage: Storage, outcome: Outcome) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    asked = ask(storage, "stop", trial_of(sweep, outcome))
    ControlledSweep(SPEC, storage, slots=1).run()
    again = ControlledSweep(SPEC, storage, slots=1)
    again.coordinator.restore()
    again.controls.take_all()
    state, told = answer(storage, asked)
    assert state == "refused"
    assert "it has ended already" in told
    assert waiting_actions(folder_of(storage)) == []


# -- resume --------------------------------------------------------------------------------------------


def test_resumed_trial_is_trained_to_its_end_and_leaves_the_search_alone(storage: Storage) -> None:
    first = ControlledSweep(SPEC, storage, slots=1).run()
    weak = trial_of(first, Outcome.STOPPED)
    before = {key: value for key, value in first.verdicts().items() if key != weak}
    asked = ask(storage, "resume", weak)
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.coordinator.restore()
    sweep.controls.take_all()
    assert not sweep.coordinator.finished
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    assert answer(storage, asked)[0] == "done"
    resumed = entry(sweep, weak)
    assert (resumed.outcome, resumed.role, resumed.stopped_at) == (
        Outcome.COMPLETED,
        Role.RESUMED,
        entry(first, weak).samples_seen,
    )
    assert resumed.stop is not None
    assert {key: value for key, value in sweep.verdicts().items() if key != weak} == before
    assert max(storage.trained.values()) == 1, "nothing is trained twice"
    check_books(sweep, storage)
    run = storage.tracker.runs[weak]
    assert (run.status, run.tags["role"], run.tags["outcome"]) == ("FINISHED", "resumed", "completed")
    read = read_entries(read_journal(storage.journal))[weak]
    assert (read.role, read.outcome, read.stopped_at) == (resumed.role, resumed.outcome, resumed.stopped_at)


def test_trial_stopped_by_hand_can_be_resumed_and_stopped_again(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.run(until=lambda: len(sweep.arrivals) == 1)
    first = sweep.arrivals[0][1]
    states = []
    for kind in ("stop", "resume", "stop", "resume"):
        asked = ask(storage, kind, first)
        sweep = ControlledSweep(SPEC, storage, slots=1)
        sweep.coordinator.restore()
        sweep.controls.take_all()
        sweep.journal.close()
        states.append((answer(storage, asked)[0], entry(sweep, first).outcome))
    assert states == [("done", Outcome.STOPPED), ("done", Outcome.PENDING)] * 2
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    assert entry(sweep, first).outcome is Outcome.COMPLETED
    assert entry(sweep, first).begun_again == 2
    assert storage.tracker.runs[first].status == "FINISHED"


def test_resume_needs_the_checkpoint(storage: Storage) -> None:
    first = ControlledSweep(SPEC, storage, slots=1).run()
    weak = trial_of(first, Outcome.STOPPED)
    shutil.rmtree(folder_of(storage).trial(weak))
    asked = ask(storage, "resume", weak)
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.coordinator.restore()
    sweep.controls.take_all()
    state, told = answer(storage, asked)
    assert state == "refused"
    assert "is gone" in told


# -- clone ---------------------------------------------------------------------------------------------


def test_clone_is_trained_to_its_end_judged_by_nobody(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=2)
    sweep.run(until=lambda: len(sweep.arrivals) == 2)
    parent = sweep.arrivals[0][1]
    asked = ask(storage, "clone", parent, changes=("learning_rate=2e-5", "weight_decay=0.1"))
    sweep = ControlledSweep(SPEC, storage, slots=2).run()
    assert answer(storage, asked)[0] == "done"
    (clone,) = [each for each in sweep.coordinator.trials.values() if each.role is Role.CLONE]
    assert clone.outcome is Outcome.COMPLETED
    assert (clone.config.learning_rate, clone.config.weight_decay) == (2e-5, 0.1)
    assert clone.config.effective_batch_size == entry(sweep, parent).config.effective_batch_size
    assert "wd0.1" in clone.name
    assert clone.origin is not None
    assert clone.origin.trial_id == parent
    assert clone.trial_id not in sweep.coordinator.engine.trials
    assert sweep.coordinator.engine.winner() is not None
    tags = storage.tracker.runs[clone.trial_id].tags
    assert (tags["role"], tags["origin.trial"]) == ("clone", parent)
    check_books(sweep, storage)


def test_clone_that_exists_is_refused_by_name(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    first, second = list(sweep.coordinator.trials.values())[:2]
    change = f"effective_batch_size={second.config.effective_batch_size}"
    changes = (change, f"learning_rate={second.config.learning_rate}")
    asked = ask(storage, "clone", first.trial_id, changes=changes)
    again = ControlledSweep(SPEC, storage, slots=1)
    again.coordinator.restore()
    again.controls.take_all()
    state, told = answer(storage, asked)
    assert state == "refused"
    assert second.name in told


def test_clone_from_weights_keeps_its_own_copy_of_them(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1).run()
    weak = entry(sweep, trial_of(sweep, Outcome.STOPPED))
    asked = ask(storage, "clone", weak.trial_id, changes=("seed=5",), from_weights=True)
    sweep = ControlledSweep(SPEC, storage, slots=1)
    sweep.coordinator.restore()
    sweep.controls.take_all()
    assert answer(storage, asked)[0] == "done"
    (clone,) = [each for each in sweep.coordinator.trials.values() if each.role is Role.CLONE]
    assert clone.origin is not None
    assert (clone.origin.takes, clone.origin.samples_seen) == ("weights", weak.samples_seen)
    shutil.rmtree(folder_of(storage).checkpoint(weak.trial_id, weak.milestones - 1))
    assert (folder_of(storage).start(clone.trial_id) / "manifest.json").is_file()
    assert sweep.coordinator.next_assignment() is not None
    assert read_entries(read_journal(storage.journal))[clone.trial_id].origin == clone.origin


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["learning_rate=-1"], "learning_rate"),
        (["effective_batch_size=0"], "effective_batch_size"),
        (["effective_batch_size=4096"], "effective_batch_size"),
        (["learn_rate=1e-4"], "learning_rate"),
        (["learning_rate=[1e-4, 1e-3]"], "one value"),
        (["samples=128"], "extend"),
        (["method=loar"], "lora"),
        (["learning_rate"], "field=value"),
        (["schedule=cosin"], "cosine"),
        (["r=8"], "r"),
    ],
)
def test_wrong_change_is_refused_as_in_a_sweep_file(changes: list[str], said: str) -> None:
    parent = SPEC.search_space
    config = next(iter(_configs()))
    assert "full" in parent.method
    with pytest.raises(InputError, match=said):
        clone_config(SPEC, config, changes)


def test_clone_without_changes_is_the_parent() -> None:
    for config in _configs():
        assert clone_config(SPEC, config, []) == config


def test_clone_with_records_for_values() -> None:
    config = clone_config(
        SPEC, next(iter(_configs())), ["schedule={name: wsd, decay_share: 0.2}", "warmup={ratio: 0.1}"]
    )
    assert (config.schedule, config.schedule_options, config.warmup_unit) == ("wsd", {"decay_share": 0.2}, "ratio")
    again = clone_config(SPEC, config, ["seed=3"])
    assert (again.schedule_options, again.warmup_amount, again.seed) == ({"decay_share": 0.2}, 0.1, 3)


def _configs() -> list[Any]:
    from orchestrator.spec.search_space.enumeration import grid_configs

    return grid_configs(SPEC.search_space, 64)


# -- tags ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "now", "changes", "from_weights"),
    [
        ("stop", "stop", False, (), False),
        (" Stop now ", "stop", True, (), False),
        ("resume", "resume", False, (), False),
        ("clone learning_rate=1e-4 r=16", "clone", False, ("learning_rate=1e-4", "r=16"), False),
        ("clone --from-weights 'schedule={name: wsd}'", "clone", False, ("schedule={name: wsd}",), True),
    ],
)
def test_tag_is_read(text: str, kind: str, now: bool, changes: tuple[str, ...], from_weights: bool) -> None:
    action = parse_tag(AskedAction("t", text))
    assert (action.kind, action.now, action.changes, action.from_weights) == (kind, now, changes, from_weights)


@pytest.mark.parametrize("text", ["", "halt", "stop it", "clone 'x", "resume now"])
def test_tag_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"orchestrate\.action"):
        parse_tag(AskedAction("t", text))


def test_action_set_as_a_tag_is_carried_out_and_answered(storage: Storage) -> None:
    sweep = ControlledSweep(SPEC, storage, slots=1)
    told: list[str] = []

    def meddle() -> bool:
        if len(sweep.arrivals) == 2 and not told:
            paused = sweep.arrivals[0][1]
            told.append(paused)
            storage.tracker.runs[paused].tags["orchestrate.action"] = "stop"
            storage.tracker.runs[""].tags["orchestrate.action"] = "stop"
        return False

    from orchestrator.tracking.tracker import SweepInfo

    storage.tracker.start_sweep(SweepInfo("s", "tiny"))
    sweep.run(until=meddle)
    assert entry(sweep, told[0]).outcome is Outcome.STOPPED
    assert storage.tracker.runs[told[0]].tags["orchestrate.action"].startswith("done: ")
    assert storage.tracker.runs[""].tags["orchestrate.action"].startswith("refused: ")
    actions = [record for record in journal_lines(storage.journal) if record["kind"] == "action"]
    assert [record["state"] for record in actions] == ["done", "refused"] or [r["state"] for r in actions] == [
        "refused",
        "done",
    ]


# -- kills ---------------------------------------------------------------------------------------------


@given(
    lives=st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=3),
    slots=st.integers(1, 4),
    seed=st.integers(0, 99),
    picks=st.lists(st.tuples(st.sampled_from(["stop", "resume", "clone"]), st.integers(0, 11)), min_size=1, max_size=5),
    forecast=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_killed_driver_forgets_no_action_and_takes_none_twice(
    tmp_path_factory: pytest.TempPathFactory,
    lives: list[tuple[int, bool]],
    slots: int,
    seed: int,
    picks: list[tuple[Any, int]],
    forecast: bool,
) -> None:
    folder = SweepFolder(tmp_path_factory.mktemp("kill"), "tiny")
    folder.root.mkdir()
    storage = Storage(folder.root)
    how: dict[str, Any] = {"slots": slots, "duration": uneven(seed), "forecast": forecast}
    # A first look at the trials, so that actions can name them.
    looked = ControlledSweep(SPEC, storage, **how)
    looked.coordinator.restore()
    looked.journal.close()
    names = list(looked.coordinator.trials)
    asked = [
        ask(storage, kind, names[number], changes=(f"learning_rate={seed + 1}e-6",) if kind == "clone" else ())
        for kind, number in picks
    ]
    for left, after in lives:
        try:
            ControlledSweep(SPEC, storage, lives=left, after=after, **how).run()
        except Killed:
            continue
    sweep = ControlledSweep(SPEC, storage, **how).run()
    assert sweep.coordinator.finished
    assert waiting_actions(folder) == []
    for action_id in asked:
        assert answer(storage, action_id)[0] in ("done", "accepted", "refused")
    assert all(each.outcome.is_final for each in sweep.coordinator.trials.values())
    read = read_entries(read_journal(storage.journal))
    assert {k: (e.outcome, e.role, e.samples_seen) for k, e in read.items()} == {
        k: (e.outcome, e.role, e.samples_seen) for k, e in sweep.coordinator.trials.items()
    }
    assert max(storage.trained.values()) == 1
    statuses = {key: run.status for key, run in storage.tracker.runs.items() if key}
    assert "RUNNING" not in statuses.values()
