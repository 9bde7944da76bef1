"""``orchestrate report``, as a shell calls it."""

from __future__ import annotations

import json
import sys

import pytest

from orchestrator import cli
from tests.worlds.journals.lines import as_record
from tests.worlds.report_sweeps import MadeSweep, finished, sweep_spec


@pytest.fixture
def orchestrate(monkeypatch, capsys):
    """Call the command; returns exit code, standard output, standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["orchestrate", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_report_command_prints_the_headline_and_where_the_report_is(orchestrate, tmp_path):
    folder = finished(tmp_path)
    code, out, err = orchestrate("report", "made", "--storage", tmp_path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("Searched: 2 methods (full and lora)")
    assert lines[-2:] == [f"Report  {folder.report_folder / name}" for name in ("report.html", "report.md")]


def test_report_command_as_json_names_files_and_sizes(orchestrate, tmp_path):
    folder, page = finished(tmp_path), tmp_path / "page.html"
    code, out, _ = orchestrate("report", folder.root, "--out", page, "--json")
    values = json.loads(out)
    assert (code, values["page"], values["markdown"], values["pictures"]) == (0, str(page), None, [])
    assert values["bytes"] == {str(page): page.stat().st_size}


def test_report_command_of_a_sweep_with_nothing_finished_is_no_error(orchestrate, tmp_path):
    MadeSweep(tmp_path, sweep_spec()).killed()
    code, out, _ = orchestrate("report", "made", "--storage", tmp_path)
    assert code == 0
    assert "Nothing to recommend yet: no trial has reached a milestone with a score" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["maid"], "error  SWEEP = 'maid': there is no such sweep; the storage"),
        (
            ["made", "--out", "page.pdf"],
            "error  --out = 'page.pdf': a report is a .html or .md file, or a folder for both.",
        ),
    ],
)
def test_report_command_wrong_input_is_one_message(orchestrate, tmp_path, words, said):
    finished(tmp_path)
    code, out, err = orchestrate("report", *words, "--storage", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(said)
    assert len(err.splitlines()) == 1


def test_report_command_says_when_the_copy_in_mlflow_stays_as_it_was(orchestrate, tmp_path):
    made = MadeSweep(tmp_path, sweep_spec())
    made.train(4)
    made.journal.append(
        as_record("session", {"slots": 2, "cpus": 2.0, "tracking": {"uri": "http://127.0.0.1:9", "experiment": "made"}})
    )
    made.journal.append(as_record("tracking", {"run_ids": {"": "a" * 32}, "experiment_id": "1"}))
    folder = made.end()
    code, out, _ = orchestrate("report", "made", "--storage", tmp_path)
    assert code == 0
    assert "MLflow  The copy in MLflow is the one of before: tracking: uri = 'http://127.0.0.1:9'" in out
    assert (folder.report_folder / "report.html").is_file()
    elsewhere = orchestrate("report", "made", "--storage", tmp_path, "--out", tmp_path / "page.html")
    assert "MLflow" not in elsewhere[1].splitlines()[-1]
