"""What is told of an entrypoint before anything starts: one sentence that names file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import EntrypointError, EntrypointFailure
from orchestrator.settings.trial_setup import EntrypointSettings
from orchestrator.tuning.own_training.first_failures import FirstFailures
from orchestrator.tuning.own_training.inspect_entrypoint import EntrypointReport, inspect_entrypoint
from orchestrator.tuning.own_training.start import libraries_of

GOOD = "def train(trial): ...\n"


def look(place: Path, code: str | None = GOOD, **settings: Any) -> EntrypointReport:
    if code is not None:
        (place / "script.py").write_text(code)
    values = {"function": "" if "command" in settings else "script.py:train", "folder": str(place), **settings}
    return inspect_entrypoint(EntrypointSettings(**values), "sweep.yaml")


@pytest.mark.parametrize(
    "code",
    [
        GOOD,
        "def train(trial, more=1, *rest, option=2): ...",
        "def train(*arguments): ...",
        "from other import train",
        "train = make()",
        "if True:\n    def train(trial): ...",
        "@decorated\ndef train(): ...",
        "raise SystemExit('this code is not run')\n" + GOOD,
    ],
)
def test_a_function_that_can_take_a_trial_is_found_without_running_anything(tmp_path: Path, code: str) -> None:
    report = look(tmp_path, code)
    assert report.kind == "function"
    assert list(report.files) == ["script.py"]


def test_a_digest_follows_the_contents(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    before = look(tmp_path, inputs=["rows.jsonl"]).files
    (tmp_path / "rows.jsonl").write_text("{ }")
    after = look(tmp_path, inputs=["rows.jsonl"]).files
    assert before["script.py"] == after["script.py"]
    assert before["rows.jsonl"] != after["rows.jsonl"]


@pytest.mark.parametrize(
    ("code", "settings", "said"),
    [
        (None, {}, r"entrypoint.function = 'script.py:train': there is no file /.*/script.py\."),
        (GOOD, {"function": "skript.py:train"}, r"there is no file .*skript.py\. Did you mean 'script.py'\?"),
        (GOOD, {"function": "script.py:trian"}, r"script.py has no function 'trian'\. Did you mean 'train'\?"),
        ("def train(:", {}, "script.py line 1 is no Python: "),
        ("def train(): ...", {}, "train must take exactly one argument, the trial; at line 1 it takes none"),
        ("def train(a, b): ...", {}, r"at line 1 it takes \(a, b\)\. Write def train\(trial\)"),
        ("def train(trial, *, rate): ...", {}, r"it takes \(trial, \*, rate\)"),
        ("async def train(trial): ...", {}, "train is a coroutine"),
        (GOOD, {"function": "nowhere.at.all:train"}, "there is no module 'nowhere' in"),
        (GOOD, {"folder": "/nowhere/at/all"}, "entrypoint.folder = '/nowhere/at/all': there is no such folder"),
        (GOOD, {"inputs": ["rows.jsonl"]}, "entrypoint.inputs = 'rows.jsonl': there is no such file in"),
        (GOOD, {"command": ["no-such-program"]}, "entrypoint.command = 'no-such-program': there is no such command"),
        (GOOD, {"command": ["./run.sh"]}, r"there is no program /.*/\./run.sh|there is no program /.*/run.sh"),
        (
            GOOD,
            {"command": ["python", "skript.py"]},
            r"entrypoint.command = 'skript.py': there is no such file in .* 'script.py'\?",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_field(
    tmp_path: Path, code: str | None, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(EntrypointError, match=said) as told:
        look(tmp_path, code, **settings)
    assert str(told.value).startswith("sweep.yaml: entrypoint.")
    assert "\n" not in str(told.value)
    assert told.value.exit_code == 2


def test_a_module_is_found_without_importing_its_package(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "mine" / "training.py").write_text(GOOD)
    assert list(look(tmp_path, function="mine.training:train").files) == ["mine/training.py"]


def test_a_command_is_found_with_its_script(tmp_path: Path) -> None:
    report = look(tmp_path, command=["python", "-u", "script.py", "--out", "{checkpoint_dir}/model.py"])
    assert (report.kind, list(report.files)) == ("command", ["script.py"])


def test_only_installed_libraries_are_imported_ahead(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    code = "import json.decoder, beside\nfrom os import path\nfrom . import near\n" + GOOD
    (tmp_path / "script.py").write_text(code)
    entrypoint = EntrypointSettings("script.py:train", folder=str(tmp_path))
    assert libraries_of(entrypoint) == ("json.decoder", "os", "os:path")
    assert libraries_of(EntrypointSettings(command=["python", "script.py"], folder=str(tmp_path))) == ()


MISUSE = {"failure": "...", "misuse": ["script.py:train", "scores", None, "a metric is missing", ""]}
CRASH = {"failure": "script.py:train failed: ValueError: no", "misuse": None}


def test_the_first_trial_that_breaks_its_promise_ends_the_sweep() -> None:
    with pytest.raises(EntrypointError, match=r"script\.py:train: scores: a metric is missing"):
        FirstFailures().take(MISUSE, begun=False)


def test_the_third_crash_ends_the_sweep() -> None:
    failures = FirstFailures()
    failures.take(CRASH, begun=False)
    failures.take(CRASH, begun=False)
    with pytest.raises(
        EntrypointFailure, match=r"3 trials failed before any reached a milestone, the last one so: .*ValueError"
    ):
        failures.take(CRASH, begun=False)


def test_once_a_trial_has_reached_a_milestone_failures_are_single() -> None:
    failures = FirstFailures()
    for result in (MISUSE, CRASH, CRASH, CRASH):
        failures.take(result, begun=True)
