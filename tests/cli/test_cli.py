"""The command line: help with examples, one line and exit code 2 for wrong input, JSON on standard output."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestrator.cli import app
from orchestrator.spec.schema import SCHEMA_FILE

Orchestrate = Callable[..., Any]
WriteSweep = Callable[..., Path]

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_commands_are_the_documented_ones() -> None:
    assert {"validate", "plan", "run", "schema"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(orchestrate: Orchestrate, command: str) -> None:
    answer = orchestrate(command, "--help")
    assert answer.code == 0
    assert f"Example: orchestrate {command}" in " ".join(answer.out.split())


def test_no_command_shows_the_commands(orchestrate: Orchestrate) -> None:
    assert all(command in orchestrate("--help").out for command in COMMANDS)


def test_help_and_wrong_files_answer_at_once(tmp_path: Path) -> None:
    for words in (["--help"], ["run", str(tmp_path / "none.yaml")]):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "orchestrator.cli", *words], capture_output=True, check=False)
        assert time.monotonic() - started < 4, "heavy packages are imported before the command is understood"


def test_wrong_file_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom orchestrator.cli import main\n"
        f"sys.argv = ['orchestrate', 'run', {str(tmp_path / 'none.yaml')!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, {'torch', 'ray', 'mlflow'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 set()"


def test_schema_prints_the_shipped_file(orchestrate: Orchestrate) -> None:
    answer = orchestrate("schema")
    assert answer.code == 0
    assert json.loads(answer.out) == json.loads(SCHEMA_FILE.read_text())


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ({"budgt": {}}, [], "budgt = {}: this key is not known here. Did you mean 'budget'?"),
        ({"search_space": {"method": "loar", "effective_batch_size": 4}}, [], "Did you mean 'lora'?"),
        (
            {"search_space": {"method": "full", "effective_batch_size": 400}},
            [],
            "larger than the data (50 training rows)",
        ),
        (
            {"search_space": {"method": "full", "effective_batch_size": 48}},
            [],
            "at least one effective batch (48 samples)",
        ),
        ({"search_space": {"method": "full", "effective_batch_size": 4}}, [], "the grid searcher needs finite domains"),
        ({"objective": "eval/los"}, [], "no evaluation set gives this metric. Did you mean 'eval/loss'?"),
        ({"model": "/nowhere/model"}, [], "/nowhere/model"),
        ({"data": {"train": "/nowhere/rows.jsonl"}}, [], "/nowhere/rows.jsonl"),
        ({"cluster": "exsting"}, [], "there is no such cluster profile. Did you mean 'existing'?"),
        ({"tracking": {"uri": "http://127.0.0.1:9"}}, [], "127.0.0.1:9"),
        ({}, ["--set", "budget.trials=many"], "--set: budget.trials = 'many': must be a whole number."),
        ({}, ["--set", "nonsense"], "an override is dotted.key=value"),
    ],
)
def test_wrong_input_is_one_line_exit_2_and_nothing_written(
    orchestrate: Orchestrate,
    write_sweep: WriteSweep,
    tmp_path: Path,
    command: str,
    changes: dict[str, Any],
    words: list[str],
    said: str,
) -> None:
    if changes.get("search_space", {}).get("effective_batch_size") == 4 and "method" in changes["search_space"]:
        learning_rate = {"log_uniform": [1e-5, 1e-4]}
        changes = {"search_space": {**changes["search_space"], "learning_rate": learning_rate}}
    answer = orchestrate(command, write_sweep(**changes), *words)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert answer.err.startswith("error  ")
    assert answer.out in ("", "Reading model and data ...\n")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["rows.jsonl", "sweep.yaml"]


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_missing_file_names_a_near_one(
    orchestrate: Orchestrate, write_sweep: WriteSweep, tmp_path: Path, command: str
) -> None:
    write_sweep()
    answer = orchestrate(command, tmp_path / "swep.yaml")
    assert answer.code == 2
    assert answer.err == f"error  {tmp_path / 'swep.yaml'}: there is no such file. Did you mean 'sweep.yaml'?\n"


def test_rays_address_must_answer(orchestrate: Orchestrate, write_sweep: WriteSweep, tmp_path: Path) -> None:
    for address, said in (("127.0.0.1:9", "nothing answers at this address"), ("nonsense", "HOST:PORT or auto")):
        answer = orchestrate("run", write_sweep(), "--ray", address)
        assert answer.code == 2
        assert said in answer.err
    assert not (tmp_path / "runs").exists()


def test_storage_that_is_a_file_is_refused(orchestrate: Orchestrate, write_sweep: WriteSweep, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    answer = orchestrate("run", write_sweep(), "--storage", tmp_path / "taken")
    assert answer.code == 2
    assert "is a file, not a folder" in answer.err
    assert (tmp_path / "taken").read_text() == ""


@pytest.mark.parametrize("words", [["--trials", "0"], ["--nonsense"], []])
def test_wrong_options_exit_2(orchestrate: Orchestrate, write_sweep: WriteSweep, words: list[str]) -> None:
    assert orchestrate("run", *([write_sweep()] if words else []), *words).code == 2


def test_validate_says_what_it_found(orchestrate: Orchestrate, write_sweep: WriteSweep) -> None:
    answer = orchestrate("validate", write_sweep())
    assert answer.code == 0, answer.err
    assert "All checks passed." in answer.out
    assert "LlamaForCausalLM" in answer.out
    values = json.loads(orchestrate("validate", write_sweep(), "--json").out)
    assert values["valid"] is True
    assert values["sweep"]["search_space"]["effective_batch_size"] == [4, 8]
    assert (values["plan"]["trials"], values["plan"]["samples"]) == (6, 40)
    assert values["setup"]["train"]["rows"] == 50


def test_plan_lists_every_trial(orchestrate: Orchestrate, write_sweep: WriteSweep) -> None:
    values = json.loads(orchestrate("plan", write_sweep(), "--json").out)
    assert (values["trials_planned"], values["samples_per_trial"], values["samples_exhaustive"]) == (6, 40, 240)
    assert values["all_trials_known"]
    assert values["milestones"][-1] == 40
    trials = values["trials"]
    assert len({trial["trial_id"] for trial in trials}) == 6
    for trial in trials:
        size = trial["config"]["effective_batch_size"]
        assert trial["steps"] == 40 // size
        assert trial["warmup_steps"] == 1
        assert trial["tokens"] > 0
        assert all(part >= 0 for part in trial["estimate"]["memory"].values())
    full, lora = (next(t for t in trials if t["config"]["method"] == name) for name in ("full", "lora"))
    assert lora["estimate"]["trainable_parameters"] < full["estimate"]["trainable_parameters"]
    shown = orchestrate("plan", write_sweep())
    assert shown.code == 0
    assert all(trial["name"] in shown.out for trial in trials)


def test_plan_takes_fewer_trials_and_overrides(orchestrate: Orchestrate, write_sweep: WriteSweep) -> None:
    words = ["--trials", "2", "--set", "budget.samples=16", "--json"]
    values = json.loads(orchestrate("plan", write_sweep(), *words).out)
    assert (values["trials_planned"], len(values["trials"]), values["samples_per_trial"]) == (2, 2, 16)


def test_plan_refuses_what_does_not_fit_the_memory(
    orchestrate: Orchestrate, write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    free = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free._replace(available=1000, free=1000))
    answer = orchestrate("plan", write_sweep())
    assert answer.code == 2
    assert "one trial may take at most" in answer.err
    assert "resources.concurrency" in answer.err
