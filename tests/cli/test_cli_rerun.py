"""rerun: the same recipe gives the same numbers, and what is not the same is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import rerun_trial
from orchestrator.storage.sweep_folder import SweepFolder
from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows

Orchestrate = Callable[..., Any]


def files(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("which", ["full", "lora", "stopped"])
def test_rerun_is_bit_for_bit_the_same_and_leaves_the_sweep_alone(trained: Any, which: str) -> None:
    before = files(trained.folder.root)
    result = rerun_trial(trained.folder, getattr(trained, which), device="cpu")
    assert result.verdict == "identical"
    assert result.weights is True
    assert (result.signals.verdict, result.signals.steps) == ("identical", 2 if which == "stopped" else 4)
    assert [score.verdict for score in result.scores] == ["identical"] * len(result.scores)
    # Not the code: someone may be editing it while the tests run.
    told = {line.what: line.agreement for line in result.capsule if line.what not in ("code", "git commit")}
    assert set(told.values()) == {"same"}
    assert {"training data", "base model", "evaluation set eval", "torch", "python", "machine"} <= told.keys()
    assert files(trained.folder.root) == before


def test_command_prints_the_verdict_and_keeps_the_checkpoint(
    orchestrate: Orchestrate, trained: Any, tmp_path: Path
) -> None:
    words = ["lora r4 lr0.01 ebs8 s0", "--storage", trained.folder.storage, "--device", "cpu"]
    answer = orchestrate("rerun", *words, "--keep", tmp_path / "kept")
    assert answer.code == 0, answer.err
    assert "The result is the same, bit for bit." in answer.out
    assert "16 samples: eval/loss" in answer.out
    place = tmp_path / "out"
    exported = orchestrate(
        "export", trained.folder.root, "--trial", trained.lora, "--to", place, "--checkpoint", tmp_path / "kept"
    )
    assert exported.code == 0, exported.err
    again = orchestrate("rerun", *words, "--keep", tmp_path / "kept")
    assert (again.code, "this folder is not empty" in again.err) == (2, True)
    values = json.loads(orchestrate("rerun", trained.folder.root, trained.lora, "--device", "cpu", "--json").out)
    assert values["verdict"] == "identical"


def test_changed_data_versions_and_code_are_named(
    orchestrate: Orchestrate, trained: Any, tmp_path: Path, tiny_base: Path
) -> None:
    shutil.copytree(trained.folder.storage, tmp_path / "runs")
    journal = tmp_path / "runs" / "tiny" / "journal.jsonl"
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    session = next(record for record in records if record["kind"] == "session")
    session["environment"]["versions"]["torch"] = "0.1"
    session["environment"]["code"] = "another"
    other = write_rows(tmp_path / "other.jsonl")
    other.write_text("".join(reversed(other.read_text().splitlines(keepends=True))))
    records[0]["content"]["data"]["train"] = str(other)
    journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    answer = orchestrate("rerun", trained.full, "--storage", tmp_path / "runs", "--device", "cpu", "--json")
    values = json.loads(answer.out)
    differs = {line["what"] for line in values["capsule"] if line["agreement"] == "differs"}
    assert differs - {"git commit"} == {"training data", "evaluation set eval", "torch", "code"}
    assert values["weights"] is False
    assert values["signals"]["first_difference"] == 1
    assert values["verdict"] in ("within error", "different")
    assert answer.code == (1 if values["verdict"] == "different" else 0)
    assert "torch is not the same: 0.1 then" in answer.err


def test_capsule_of_an_older_version_is_unknown_not_different(trained: Any, tmp_path: Path) -> None:
    shutil.copytree(trained.folder.storage, tmp_path / "runs")
    folder = SweepFolder(tmp_path / "runs", "tiny")
    records = [json.loads(line) for line in folder.journal.read_text().splitlines()]
    session = next(record for record in records if record["kind"] == "session")
    for name in ("environment", "resources", "evaluation", "folder"):
        session.pop(name)
    folder.journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    shutil.rmtree(folder.root / "trials" / trained.stopped)
    result = rerun_trial(folder, trained.stopped, device="cpu")
    assert {line.agreement for line in result.capsule} == {"same", "unknown"}
    assert (result.signals.verdict, result.weights, result.verdict) == ("unknown", None, "identical")


def test_wrong_words_are_one_line(orchestrate: Orchestrate, trained: Any, tmp_path: Path, tiny_base: Path) -> None:
    storage = trained.folder.storage
    for words, said in (
        (["tiny", "nonsense"], "this sweep has no such trial"),
        (["tinny", trained.full], "Did you mean 'tiny'?"),
        (["full lr0.003 ebs9 s0"], "Did you mean 'full lr"),
        (["a", "b", "c"], "takes a sweep and a trial"),
    ):
        answer = orchestrate("rerun", *words, "--storage", storage)
        assert (answer.code, answer.out) == (2, ""), words
        assert said in answer.err
        assert len(answer.err.strip().splitlines()) == 1


def test_trial_that_has_reached_no_milestone_is_refused(
    orchestrate: Orchestrate, tiny_base: Path, tmp_path: Path
) -> None:
    sweep = Driverless(tiny_spec(tiny_base, write_rows(tmp_path / "rows.jsonl"), tmp_path / "runs"))
    trial = sweep.train(config("full", 1e-3), milestones=0)
    sweep.end("interrupted")
    answer = orchestrate("rerun", trial, "--storage", tmp_path / "runs")
    assert (answer.code, "this trial has reached no milestone" in answer.err) == (2, True)


def test_trial_of_several_sweeps_wants_the_sweep(orchestrate: Orchestrate, trained: Any, tmp_path: Path) -> None:
    shutil.copytree(trained.folder.root, tmp_path / "runs" / "one")
    shutil.copytree(trained.folder.root, tmp_path / "runs" / "two")
    answer = orchestrate("rerun", trained.full, "--storage", tmp_path / "runs")
    assert (answer.code, "several sweeps have this trial: one, two" in answer.err) == (2, True)
