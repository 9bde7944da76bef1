"""Detached sets at milestones, without Ray: weights are kept until they are scored, whatever is killed in between."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.api import read_sweep, sweep_status, validate_sweep
from orchestrator.api.plan import capacity
from orchestrator.errors import StorageError
from orchestrator.history.journal_facts import check_same_sweep, standing_record
from orchestrator.records import Outcome
from orchestrator.reporting.terminal.status import print_sweep
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.storage.journal import Journal
from orchestrator.storage.later_scores import read_scores
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import TrialEntry, read_entries
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.training.loop.checkpoints import STATE, WEIGHTS
from orchestrator.tuning.detached.process import CheckpointScorer, Found
from orchestrator.tuning.detached.scoring import DetachedScoring, detached_sets
from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows
from tests.worlds.journals.lines import as_record

LEVELS = (8, 16, 24, 32)
BESIDE = {"name": "beside", "kind": "loss", "limit": 10}


class Here:
    """A `Scorer` in this process, which can be made to break."""

    def __init__(self, spec: SweepSpec, cache: Path) -> None:
        setup = spec.trial_setup
        self._scorer = CheckpointScorer(replace(setup, evaluation=detached_sets(setup)), str(cache), None)
        self._found: Found | None = None
        self.scored: list[str] = []
        self.breaks = False

    def start(self, config: Mapping[str, Any] | None, checkpoint: str, final: bool) -> None:
        self.scored.append("base" if config is None else "/".join(Path(checkpoint).parts[-2:]))
        broken = self.breaks and config is not None
        self._found = Found(failure="lost") if broken else self._scorer.score(config, checkpoint, final)

    def poll(self, seconds: float) -> Found | None:
        return self._found


class Beside:
    """One session's detached scoring of a sweep that no driver runs."""

    def __init__(self, sweep: Driverless, spec: SweepSpec, limit: int = 16) -> None:
        self._sweep, self.told, self.tracker = sweep, [], MemoryTracker()
        self.scorer = Here(spec, sweep.folder.cache)
        told: list[str] = self.told
        sets = detached_sets(spec.trial_setup)
        self.scoring = DetachedScoring(sets, sweep.folder, self, self.tracker, told.append, self.scorer, limit)

    @property
    def trials(self) -> Mapping[str, TrialEntry]:
        return read_entries(list(self._sweep.journal.records))

    def steps(self, trial_id: str) -> dict[int, float]:
        run = self.tracker.runs.get(trial_id)
        return {} if run is None else {step: value for step, _, value in run.metrics["beside/loss"]}


@pytest.fixture
def spec(tiny_base: Path, tmp_path: Path) -> SweepSpec:
    return _spec(tiny_base, tmp_path, detached=True)


def _spec(base: Path, folder: Path, detached: bool) -> SweepSpec:
    sets = [{"name": "eval"}, {**BESIDE, "when": "milestones", "detached": detached}]
    if detached:
        sets.append({"name": "late", "detached": True})
    shares = [level / LEVELS[-1] for level in LEVELS]
    rows = write_rows(folder / "rows.jsonl")
    return tiny_spec(base, rows, folder / f"runs-{detached}", evaluation=sets, milestones=shares)


def test_every_milestone_gets_the_scores_that_it_would_have_got_in_the_slot(
    spec: SweepSpec, tiny_base: Path, tmp_path: Path
) -> None:
    slot = Driverless(_spec(tiny_base, tmp_path, detached=False), LEVELS)
    configs = config("full", 3e-3), config("lora", 1e-2, r=4)
    in_slot = [slot.train(each, 4) for each in configs]
    expected = read_sweep(slot.end())
    sweep = Driverless(spec, LEVELS)
    session = Beside(sweep, spec)
    for each in configs:
        sweep.train(each, 4)
        session.scoring.turn()
    status = sweep_status(sweep.folder)
    assert status.milestones_waiting == 6, "training does not wait for scores"
    print_sweep(status, Console(file=(printed := StringIO()), width=100), now=0.0)
    assert "waiting for detached scores  6 checkpoints" in printed.getvalue()
    session.scoring.finish()
    assert not sweep.folder.milestones_waiting
    found = read_sweep(sweep.end())
    for trial_id in in_slot:
        series = [(each.samples_seen, each.scores["beside/loss"]) for each in found.trial(trial_id).milestones]
        errors = [each.standard_errors["beside/loss"] for each in found.trial(trial_id).milestones]
        before = expected.trial(trial_id).milestones
        assert series == [(each.samples_seen, each.scores["beside/loss"]) for each in before]
        assert errors == [each.standard_errors["beside/loss"] for each in before]
        assert session.steps(trial_id) == dict(series)
        # `evaluate` reads there that it need not tell them again.
        kept = [each for each in read_scores(sweep.folder.later_scores) if each.trial_id == trial_id]
        assert {each.run_id for each in kept} == {session.tracker.run_ids[trial_id]}
        late = ["late/loss" in each.scores for each in found.trial(trial_id).milestones]
        assert late == [False, False, False, True]
        assert found.trial(trial_id).result.scores["beside/loss"] == series[-1][1]
    assert "beside/loss" in found.result.base_scores
    assert found.result.unscored == 0
    assert session.told == ["Scoring 7 more models on detached evaluation sets ..."]


def test_only_weights_are_kept_and_they_share_the_disk_with_their_checkpoint(spec: SweepSpec) -> None:
    sweep = Driverless(spec, LEVELS)
    trial_id = sweep.train(config("full", 3e-3), 2, Outcome.STOPPED)
    folder = sweep.folder
    assert not folder.checkpoint(trial_id, 0).exists()
    assert {file.name for file in folder.waiting(trial_id, 0).iterdir()} == {WEIGHTS, STATE, "manifest.json"}
    assert (folder.waiting(trial_id, 1) / WEIGHTS).samefile(folder.checkpoint(trial_id, 1) / WEIGHTS)


def test_stopped_trials_are_scored_and_a_killed_session_scores_nothing_twice_and_misses_nothing(
    spec: SweepSpec,
) -> None:
    sweep = Driverless(spec, LEVELS)
    stopped = sweep.train(config("full", 1e-3), 2, Outcome.STOPPED)
    ended = sweep.train(config("full", 3e-3), 4)
    first = Beside(sweep, spec)
    for _ in range(3):  # the base model, the trial that has ended, and its newest milestone
        first.scoring.turn()
    assert first.scorer.scored == ["base", f"{ended}/m0003", "waiting/m0002"]
    # As if the kill had fallen between the scores' being written down and the weights' being let go.
    shutil.copytree(sweep.folder.waiting(ended, 1), sweep.folder.waiting(ended, 2))
    second = Beside(sweep, spec)
    second.scoring.finish()
    assert sorted(second.scorer.scored) == ["waiting/m0000", "waiting/m0000", "waiting/m0001", "waiting/m0001"]
    assert not sweep.folder.milestones_waiting
    keys = [(each.trial_id, each.index) for each in read_scores(sweep.folder.later_scores)]
    assert sorted(keys) == sorted([("", -1), *((stopped, n) for n in range(2)), *((ended, n) for n in range(4))])
    assert not Beside(sweep, spec).scoring.waiting
    assert set(second.steps(stopped)) == {8, 16}
    assert read_sweep(sweep.end()).trial(stopped).result.scores.keys() >= {"eval/loss", "beside/loss"}


def test_more_than_may_wait_are_left_out_for_good_and_told(spec: SweepSpec) -> None:
    sweep = Driverless(spec, LEVELS)
    trial_id = sweep.train(config("full", 3e-3), 4)
    session = Beside(sweep, spec, limit=1)
    session.scoring.finish()
    assert session.scorer.scored == ["base", f"{trial_id}/m0003", "waiting/m0002"]
    assert "left out: more checkpoints wait than resources.detached_waiting allows" in session.told[0]
    assert "Detached scores of 2 milestones were left out" in session.told[-1]
    assert not sweep.folder.milestones_waiting
    again = Beside(sweep, spec)
    again.scoring.finish()
    assert (again.scorer.scored, again.told) == ([], [])
    found = read_sweep(sweep.end())
    assert found.result.unscored == 2
    assert ["beside/loss" in each.scores for each in found.trial(trial_id).milestones] == [
        False,
        False,
        True,
        True,
    ]


def test_what_failed_by_chance_is_tried_again_and_what_cannot_be_read_is_given_up(spec: SweepSpec) -> None:
    sweep = Driverless(spec, LEVELS)
    trial_id = sweep.train(config("full", 3e-3), 3, Outcome.STOPPED)
    damaged = sweep.folder.waiting(trial_id, 0) / STATE
    damaged.unlink()  # a link: the file itself may be shared with a checkpoint
    damaged.write_text("{}")
    shutil.rmtree(sweep.folder.waiting(trial_id, 1))
    first = Beside(sweep, spec)
    first.scorer.breaks = True
    first.scoring.finish()
    assert any("its weights were not kept" in line for line in first.told)
    assert "The weights of 2 milestones are kept" in first.told[-1]
    second = Beside(sweep, spec)
    second.scoring.finish()
    assert sorted(second.scorer.scored) == ["waiting/m0000", "waiting/m0002"]
    assert any("is not what the manifest says" in line for line in second.told)
    assert not sweep.folder.milestones_waiting
    assert read_sweep(sweep.end()).result.unscored == 2
    assert set(second.steps(trial_id)) == {24}


def test_a_journal_of_before_keeps_its_meaning(spec: SweepSpec) -> None:
    sets = [{"name": "eval"}, {"name": "beside", "detached": True}]
    today = parse_sweep({**spec.content(), "storage": spec.storage, "evaluation": sets})
    before = today.content()
    before["evaluation"] = [{**entry, "when": "milestones"} for entry in before["evaluation"]]
    folder = SweepFolder(Path(spec.storage), spec.name)
    journal = Journal(folder.journal)
    journal.append(
        as_record("sweep", {"sweep_id": "s", "content": before, "inputs": {}, "plan": asdict(plan_sweep(spec, 1000))})
    )
    journal.close()
    check_same_sweep(folder, today.content(), "file")
    assert standing_record(journal.records).content == today.content()
    asked = parse_sweep(
        {**spec.content(), "storage": spec.storage, "evaluation": [sets[0], {**sets[1], "when": "milestones"}]}
    )
    with pytest.raises(StorageError, match="another content"):
        check_same_sweep(folder, asked.content(), "file")


def test_the_disk_must_have_room_for_weights_that_wait(spec: SweepSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(capacity, "check_storage", lambda place, needed: asked.append(needed))
    for waiting in (1, 3, 100):
        changed = parse_sweep({**resolved(spec), "resources": {"detached_waiting": waiting}})
        capacity.check_capacity(validate_sweep(changed), "file")
    plain = parse_sweep({**resolved(spec), "evaluation": [{"name": "eval"}]})
    capacity.check_capacity(validate_sweep(plain), "file")
    one, three, all_of_them, none = asked
    assert three - none == 3 * (one - none) > 0
    assert all_of_them - none < 2 * none, (
        "no more than the trials can leave: three milestones each, a third of a checkpoint"
    )
