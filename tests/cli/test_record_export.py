"""record-export: from a storage folder to a file of recorded trials, or one error that says why not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator import export_recorded
from orchestrator.api import past_recorded
from orchestrator.errors import StorageError
from orchestrator.records import Action, Decision, Milestone, Role, TrainingSignal, TrialConfig, TrialState
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.spec.sweep_plan import SweepPlan
from orchestrator.storage.journal import Journal
from orchestrator.storage.milestone_reports import write_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import milestone_record
from tests.worlds.journals.lines import as_record

Orchestrate = Callable[..., Any]
LEVELS = (16, 32)


class Recording:
    """Writes a sweep's storage as driver and workers do, without training."""

    def __init__(
        self,
        storage: Path,
        name: str = "rec",
        record: bool = True,
        planned: int = 3,
        stopping: Sequence[str] = ("rungs",),
        rows: int | None = None,
    ) -> None:
        self.folder = SweepFolder(storage, name)
        self.journal = Journal(self.folder.journal)
        rules = {rule: {"enabled": rule in stopping} for rule in ("forecast", "rungs", "early_dynamics", "divergence")}
        content = {"record": record, "stopping": rules}
        plan = SweepPlan(planned, LEVELS[-1], LEVELS, (0,), rows)
        self.journal.append(
            as_record("sweep", {"sweep_id": "s", "content": content, "inputs": {}, "plan": asdict(plan)})
        )

    def trial(self, name: str, batch: int, *states: TrialState) -> None:
        config = TrialConfig("lora", batch, 1e-3, LEVELS[-1])
        self.journal.append(as_record("trial", {"trial": name, "name": f"{name} in words", "config": config.as_dict()}))
        for index, state in enumerate(states):
            before = LEVELS[index - 1] if index else 0
            steps = range(before + batch, LEVELS[index] + 1, batch)
            signals = tuple(self._signal(samples, batch, state) for samples in steps)
            self._milestone(name, index, state, signals)

    def _signal(self, samples: int, batch: int, state: TrialState) -> TrainingSignal:
        loss = math.nan if state is TrialState.DIVERGED else 10.0 / samples
        corrected = None if samples == batch else 0.5
        return TrainingSignal(samples // batch, samples, 0, loss, loss, 1.5, 1e-3, 1.0, 1.0, None, corrected)

    def _milestone(self, name: str, index: int, state: TrialState, signals: tuple[TrainingSignal, ...]) -> None:
        scores = {} if state is TrialState.DIVERGED else {"eval/loss": 2.0 - index}
        if state is TrialState.COMPLETED:
            scores["skills/exact_match"] = 0.25
        milestone = Milestone(
            trial_id=name,
            index=index,
            level=LEVELS[index],
            samples_seen=signals[-1].samples_seen,
            tokens_seen=0,
            state=state,
            scores=scores,
            signals=signals,
            training_seconds=1.5,
            evaluation_seconds=0.5,
        )
        write_report(self.folder.report(name, index), milestone, None)
        decision = Decision(name, LEVELS[index], Action.CONTINUE, "budget", "the sweep", "went on")
        self.journal.append(milestone_record(milestone, Role.SEARCH, {}, decision))

    def fail(self, name: str) -> None:
        decision = Decision(name, 0, Action.STOP, "failure", "the sweep", "the process died")
        self.journal.append(as_record("failure", {"trial": name, "decision": asdict(decision)}))

    def end(self, status: str = "completed") -> SweepFolder:
        self.journal.append(as_record("session_end", {"status": status, "wall_seconds": 1.0, "slot_seconds": 1.0}))
        self.journal.close()
        return self.folder


WHOLE = (TrialState.RUNNING, TrialState.COMPLETED)


def complete(
    storage: Path, name: str = "rec", record: bool = True, stopping: Sequence[str] = ("rungs",)
) -> SweepFolder:
    recording = Recording(storage, name, record, stopping=stopping)
    recording.trial("a", 8, *WHOLE)
    recording.trial("b", 16, *WHOLE)
    recording.trial("c", 8, TrialState.RUNNING, TrialState.DIVERGED)
    return recording.end()


def test_all_signals_and_scores_are_exported(tmp_path: Path) -> None:
    sweep = export_recorded(complete(tmp_path))
    assert (sweep.name, sweep.levels) == ("rec", LEVELS)
    first, second, third = sweep.trials
    assert (first.trial, first.cohort, first.samples, first.seconds) == ("a", "the sweep", 32, 3.0)
    assert first.facts.name == "a in words"
    assert TrialConfig.from_dict({k: v for k, v in first.config.items() if k != "name"}) == TrialConfig(
        "lora", 8, 1e-3, 32
    )
    assert first.signals[:, 0].tolist() == [8, 16, 24, 32]
    np.testing.assert_allclose(first.signals[:, 1], [10 / 8, 10 / 16, 10 / 24, 10 / 32])
    np.testing.assert_array_equal(first.signals[:, 4], [np.nan, 0.5, 0.5, 0.5])
    assert second.signals[:, 0].tolist() == [16, 32]
    assert first.evals == ((16, {"eval/loss": 2.0}), (32, {"eval/loss": 1.0}))
    assert first.final == {"eval/loss": 1.0, "skills/exact_match": 0.25}
    assert (third.status, third.final, third.evals) == ("diverged", {}, ((16, {"eval/loss": 2.0}),))
    assert np.isnan(third.signals[2:, 1]).all()


def test_epochs_stand_in_the_config_where_the_rows_are_known(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "known", rows=20)
    for name in ("a", "b", "c"):
        recording.trial(name, 8, *WHOLE)
    sweep = export_recorded(recording.end())
    assert [trial.config["epochs"] for trial in sweep.trials] == [1.6] * 3
    assert sweep.epochs == 1.6
    own = export_recorded(complete(tmp_path))
    assert not any("epochs" in trial.config for trial in own.trials)
    assert own.epochs == 1.0


def test_base_scores_are_the_evaluation_at_no_samples(tmp_path: Path) -> None:
    folder = complete(tmp_path)
    folder.base_scores.write_text(json.dumps({"eval/loss": 5.0, "skills/exact_match": 0.0}))
    for trial in export_recorded(folder).trials:
        assert trial.evals[0] == (0, {"eval/loss": 5.0})
    folder.base_scores.write_text(json.dumps({"skills/exact_match": 0.0}))
    assert export_recorded(folder).trials[0].evals[0][0] == 16, "base scores without a metric of the milestones"


def test_failed_trials_are_left_out_and_counted(tmp_path: Path) -> None:
    recording = Recording(tmp_path, planned=4)
    recording.trial("a", 8, *WHOLE)
    recording.trial("b", 8, TrialState.RUNNING)
    recording.fail("b")
    recording.trial("c", 8)
    recording.fail("c")
    recording.trial("d", 16, *WHOLE)
    said: list[str] = []
    sweep = export_recorded(recording.end(), said.append)
    assert [trial.trial for trial in sweep.trials] == ["a", "d"]
    assert said == ["2 of 4 trials failed and are left out."]


def test_sweep_that_stopped_trials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="was not run with --record") as caught:
        export_recorded(complete(tmp_path, record=False))
    assert "--record" in caught.value.mend


@pytest.mark.parametrize("rule", ["rungs", "early_dynamics"])
def test_sweep_of_which_any_rule_may_stop_trials_is_refused(tmp_path: Path, rule: str) -> None:
    with pytest.raises(StorageError, match="weak trials were stopped"):
        export_recorded(complete(tmp_path, record=False, stopping=(rule,)))


def test_sweep_with_its_rules_off_is_as_good_as_a_recorded_one(tmp_path: Path) -> None:
    folder = complete(tmp_path, record=False, stopping=("divergence", "forecast"))
    assert len(export_recorded(folder).trials) == 3
    assert [sweep.name for sweep in past_recorded(tmp_path)] == ["rec"]


@pytest.mark.parametrize(
    ("states", "planned", "said"),
    [
        ((TrialState.RUNNING,), 2, "not complete: 1 of 2 trials have ended"),
        ((), 2, "not complete: 1 of 2 trials have ended"),
        (WHOLE, 3, "not complete: 2 of 3 trials have ended"),
    ],
)
def test_unfinished_sweep_is_refused(tmp_path: Path, states: tuple[TrialState, ...], planned: int, said: str) -> None:
    recording = Recording(tmp_path, planned=planned)
    recording.trial("a", 8, *WHOLE)
    recording.trial("b", 8, *states)
    with pytest.raises(StorageError, match=said):
        export_recorded(recording.end("interrupted"))


def test_search_space_that_held_fewer_trials_is_complete(tmp_path: Path) -> None:
    recording = Recording(tmp_path, planned=9)
    recording.trial("a", 8, *WHOLE)
    recording.trial("b", 16, *WHOLE)
    assert len(export_recorded(recording.end()).trials) == 2


def test_sweep_whose_trials_failed_is_refused(tmp_path: Path) -> None:
    recording = Recording(tmp_path, planned=2)
    recording.trial("a", 8, *WHOLE)
    recording.trial("b", 8)
    recording.fail("b")
    with pytest.raises(StorageError, match="1 of its trials ended, and a recorded sweep has at least 2"):
        export_recorded(recording.end())


def test_missing_and_damaged_reports_are_named(tmp_path: Path) -> None:
    folder = complete(tmp_path)
    report = folder.report("b", 1)
    for text, said in (("{", "damaged"), ("{}", "damaged"), (None, "cannot be read")):
        report.unlink() if text is None else report.write_text(text)
        with pytest.raises(StorageError, match=said) as caught:
            export_recorded(folder)
        assert caught.value.where == str(report)


@pytest.mark.parametrize("given", ["name", "folder"])
def test_command_writes_a_file_and_says_what(orchestrate: Orchestrate, tmp_path: Path, given: str) -> None:
    folder, file = complete(tmp_path / "runs"), tmp_path / "rec.jsonl.gz"
    words = ["rec", "--storage", folder.storage] if given == "name" else [folder.root]
    answer = orchestrate("record-export", *words, "--out", file, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out) == {"file": str(file), "sweep": "rec", "trials": 3, "bytes": file.stat().st_size}
    (sweep,) = read_recorded([file])
    assert [trial.trial for trial in sweep.trials] == ["a", "b", "c"]


def test_command_uses_the_default_storage_and_name(
    orchestrate: Orchestrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    complete(Path("runs"))
    answer = orchestrate("record-export", "rec")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("3 trials of sweep rec: rec.jsonl.gz (")
    assert len(read_recorded([tmp_path / "rec.jsonl.gz"])) == 1


def test_command_keeps_a_file_that_exists(orchestrate: Orchestrate, tmp_path: Path) -> None:
    folder, file = complete(tmp_path / "runs"), tmp_path / "mine.jsonl"
    file.write_text("mine")
    answer = orchestrate("record-export", folder.root, "--out", file)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error  --out = '{file}': this file exists. Choose another, or add --force.\n"
    assert file.read_text() == "mine"
    assert orchestrate("record-export", folder.root, "--out", file, "--force").code == 0
    assert len(read_recorded([file])) == 1


def test_command_names_the_nearest_sweep(orchestrate: Orchestrate, tmp_path: Path) -> None:
    complete(tmp_path, "quickstart")
    (tmp_path / "cache").mkdir()
    answer = orchestrate("record-export", "quikstart", "--storage", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert "there is no such sweep; the storage" in answer.err
    assert answer.err.endswith("has quickstart. Did you mean 'quickstart'?\n")
    empty = orchestrate("record-export", "quickstart", "--storage", tmp_path / "nowhere")
    assert (empty.code, len(empty.err.splitlines())) == (2, 1)
    assert "has none" in empty.err
