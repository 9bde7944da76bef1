"""status and watch: sweeps as any terminal sees them, running ones too, and without the seconds that torch and Ray take."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.api import read_sweep, storage_status, sweep_status, watch_sweep
from orchestrator.errors import StorageError
from orchestrator.records import Outcome, Role
from orchestrator.reporting.terminal.status import print_sweep
from orchestrator.results.records import SweepView
from orchestrator.storage.driver_presence import driving
from orchestrator.storage.journal import Journal
from orchestrator.storage.sweep_folder import SweepFolder
from tests.benchmarks.bench_status import write_sweep
from tests.worlds.journals.lines import as_record

Orchestrate = Callable[..., Any]


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with a complete sweep, an interrupted one, and one that cannot be read."""
    runs = tmp_path / "runs"
    write_sweep(runs, "done", 5)
    write_sweep(runs, "cut", 4, ended=False)
    (runs / "bad").mkdir()
    (runs / "bad" / "journal.jsonl").write_text("nonsense\n")
    (runs / "cache").mkdir()
    return runs


def test_storage_is_listed_and_a_damaged_sweep_hides_no_other(orchestrate: Orchestrate, storage: Path) -> None:
    answer = orchestrate("status", "--storage", storage, "--json")
    assert answer.code == 0, answer.err
    sweeps = {sweep["name"]: sweep for sweep in json.loads(answer.out)["sweeps"]}
    assert {name: sweep["status"] for name, sweep in sweeps.items()} == {
        "done": "completed",
        "cut": "interrupted",
        "bad": "unreadable",
    }
    assert "this line of the journal is damaged" in sweeps["bad"]["problem"]
    assert sweeps["done"]["counts"]["completed"] == 5
    assert (sweeps["done"]["samples_trained"], sweeps["done"]["samples_exhaustive"]) == (5 * 4096, 5 * 4096)
    assert sweeps["done"]["best"]["trial_id"] == "0000000000"
    assert sweeps["done"]["trials"] == []
    shown = orchestrate("status", "--storage", storage).out
    assert all(word in shown for word in ("done", "cut", "bad", "interrupted", "eval/loss 0.9864 ± 0.14"))


def test_one_sweep_shows_its_trials_best_first(orchestrate: Orchestrate, storage: Path) -> None:
    values = json.loads(orchestrate("status", "done", "--storage", storage, "--json").out)
    losses = [trial["objective"] for trial in values["trials"]]
    assert losses == sorted(losses)
    assert values["trials"][0]["standard_error"] == pytest.approx(0.1437, abs=1e-3)
    by_folder = orchestrate("status", storage / "done")
    assert by_folder.code == 0
    assert "lora r8 lr0.001 ebs32 s0     0000000000  search  completed  4,096/4,096" in by_folder.out


def test_rows_show_what_a_trial_is_trained_for(storage: Path) -> None:
    sweep = sweep_status("done", storage=storage)
    roles = (Role.SEARCH, Role.AUDIT, Role.REPEAT, Role.CLONE, Role.EXTENDED)
    trials = tuple(replace(trial, role=role) for trial, role in zip(sweep.trials, roles, strict=True))
    for width, shown in ((160, trials), (80, sweep.trials)):
        console = Console(file=io.StringIO(), width=width)
        print_sweep(replace(sweep, trials=shown), console, now=0.0)
        printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        for trial in shown:
            (line,) = [line for line in printed if f" {trial.trial_id} " in line]
            assert width == 80 or f"{trial.trial_id}  {trial.role.value} " in line


def test_large_sweep_shows_the_first_hundred(orchestrate: Orchestrate, tmp_path: Path) -> None:
    write_sweep(tmp_path, "large", 120)
    answer = orchestrate("status", "large", "--storage", tmp_path)
    assert "and 20 more; --all shows them" in answer.out
    assert "0000000077" not in answer.out
    assert "0000000077" in orchestrate("status", "large", "--storage", tmp_path, "--all").out


def test_empty_storage_and_unknown_sweep(orchestrate: Orchestrate, storage: Path, tmp_path: Path) -> None:
    empty = orchestrate("status", "--storage", tmp_path / "none")
    assert (empty.code, empty.out) == (0, f"No sweep has been run in the storage '{tmp_path / 'none'}'.\n")
    assert json.loads(orchestrate("status", "--storage", tmp_path / "none", "--json").out)["sweeps"] == []
    unknown = orchestrate("status", "dune", "--storage", storage)
    assert (unknown.code, unknown.err.endswith("Did you mean 'done'?\n")) == (2, True)
    none = orchestrate("watch", "--storage", tmp_path / "none")
    assert (none.code, "no sweep has been run in this storage folder" in none.err) == (2, True)
    store = orchestrate("status", "--tracking-uri", f"sqlite:///{tmp_path / 'none.db'}")
    assert (store.code, "there is no such database" in store.err) == (2, True)
    assert not (tmp_path / "none.db").exists()


READING = """
import sys
from orchestrator.cli import main
for words in {commands!r}:
    sys.argv = ['orchestrate', *words, '--storage', {storage!r}]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
print('LOADED', sorted({{module.partition('.')[0] for module in sys.modules}}))
"""
HEAVY = {"torch", "ray", "mlflow", "transformers", "optuna", "datasets", "peft"}


@pytest.mark.parametrize(
    ("commands", "forbidden"),
    [
        ([["status"], ["status", "done"], ["status", "done", "--json"]], HEAVY | {"numpy", "scipy"}),
        ([["watch", "cut"], ["compare", "done", "cut"]], HEAVY),
    ],
)
def test_reading_a_sweep_loads_neither_torch_nor_ray(
    storage: Path, commands: list[list[str]], forbidden: set[str]
) -> None:
    code = READING.format(commands=commands, storage=str(storage))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    word, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert word == "LOADED"
    assert forbidden & set(ast.literal_eval(loaded)) == set()


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[tuple[SweepFolder, Journal]]:
    """A sweep that this process drives: two of four trials are at work."""
    write_sweep(tmp_path, "live", 4, ended=False)
    folder = SweepFolder(tmp_path, "live")
    lines = folder.journal.read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    # Only the first two trials have reached the first milestone, and no decision was made while they waited.
    kept = [
        record
        for record in records
        if record["kind"] in ("sweep", "trial")
        or (record["kind"] == "milestone" and record["index"] == 0 and record["trial"] in ("0000000000", "0000000001"))
    ]
    for record in kept:
        if record["kind"] == "milestone":
            record["epoch"] = 2
            record["decision"]["action"] = "CONTINUE" if record["trial"].endswith("0") else "PAUSE"
    session = {"kind": "session", "time": time.time(), "epoch": 2, "slots": 2, "cpus": 2.0}
    kept.insert(5, session)
    folder.journal.write_text("".join(json.dumps(record) + "\n" for record in kept))
    journal = Journal(folder.journal)
    with driving(journal.path, journal.epoch, lambda moment: None):
        yield folder, journal


def progress(folder: SweepFolder, trial_id: str, samples: int) -> None:
    file = folder.progress(trial_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"samples_seen": samples, "loss": 1.5, "grad_norm": 2.5, "tokens_per_second": 9.0, "time": time.time()}
    file.write_text(json.dumps(values))


def test_running_trials_are_told_from_waiting_ones(driven: tuple[SweepFolder, Journal]) -> None:
    folder, _ = driven
    progress(folder, "0000000002", 64)
    status = sweep_status(folder)
    assert status.status == "running"
    assert status.driver.startswith("process ")
    by_id = {trial.trial_id: trial for trial in status.trials}
    assert {trial_id: trial.outcome for trial_id, trial in by_id.items()} == {
        "0000000000": Outcome.RUNNING,
        "0000000001": Outcome.PAUSED,
        "0000000002": Outcome.RUNNING,
        "0000000003": Outcome.PENDING,
    }
    assert (by_id["0000000002"].samples_seen, by_id["0000000002"].loss) == (64, 1.5)
    assert read_sweep(folder).result.status == "running"


def test_progress_of_an_earlier_session_is_no_sign_of_life(driven: tuple[SweepFolder, Journal]) -> None:
    folder, _ = driven
    progress(folder, "0000000003", 64)
    values = json.loads(folder.progress("0000000003").read_text())
    folder.progress("0000000003").write_text(json.dumps({**values, "time": time.time() - 3600}))
    (trial,) = [trial for trial in sweep_status(folder).trials if trial.trial_id == "0000000003"]
    assert trial.outcome is Outcome.PENDING


def test_watch_follows_until_the_driver_ends(tmp_path: Path) -> None:
    write_sweep(tmp_path, "live", 3, ended=False)
    folder = SweepFolder(tmp_path, "live")
    views: list[SweepView] = []
    journal = Journal(folder.journal)
    ready = threading.Event()

    def observe(view: SweepView) -> None:
        views.append(view)
        ready.set()

    def drive() -> None:
        with driving(journal.path, journal.epoch, lambda moment: None):
            started.set()
            ready.wait(20)
            journal.append(as_record("session_end", {"status": "completed", "wall_seconds": 1.0, "slot_seconds": 2.0}))

    started = threading.Event()
    driver = threading.Thread(target=drive)
    driver.start()
    started.wait(20)
    result = watch_sweep(folder, observe, every_seconds=0.05)
    driver.join()
    assert result.status == "completed"
    assert len(views) >= 2
    assert views[-1].counts["completed"] == 3


def test_watch_of_a_sweep_that_does_not_run_shows_it_once(orchestrate: Orchestrate, storage: Path) -> None:
    answer = orchestrate("watch", "cut", "--storage", storage)
    assert answer.code == 0
    assert "Interrupted; the command that ran it goes on from here." in answer.out
    lines = orchestrate("watch", "done", "--storage", storage, "--json").out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["done"] or len(lines) == 1
    assert json.loads(lines[0])["counts"]["completed"] == 5


def test_python_interface_takes_names_and_folders(storage: Path) -> None:
    assert sweep_status("done", storage).status == sweep_status(storage / "done").status == "completed"
    assert [sweep.name for sweep in storage_status(str(storage))][-1] == "bad"
    with pytest.raises(StorageError, match="Did you mean 'done'"):
        sweep_status("don", storage)
