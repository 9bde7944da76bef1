"""``orchestrate replay`` as a shell would call it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.simulation.recorded.files import write_recorded
from orchestrator.simulation.synthetic.settings import SyntheticSettings
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep


@pytest.fixture
def recorded(tmp_path):
    file = tmp_path / "made.jsonl.gz"
    write_recorded(replace(synthetic_sweep(12, 0, SyntheticSettings(repeats=2)), name="made"), file)
    return file


def test_replay_prints_a_row_per_rule(orchestrate, recorded):
    answer = orchestrate("replay", recorded, "--rules", "ours,halving-rf2", "--draws", 2, "--workers", 3)
    assert answer.code == 0
    rows = [line.split()[0] for line in answer.out.splitlines() if line and not line.startswith(" ")]
    assert rows[:4] == ["Replay:", "rule", "ours", "halving-rf2"]
    assert "eval/loss (min)" in answer.out


def test_replay_prints_json_and_nothing_else(orchestrate, recorded):
    answer = orchestrate("replay", recorded, "--rules", "no-stopping", "--draws", 1, "--json", "--startup", 2)
    assert answer.code == 0
    values = json.loads(answer.out)
    assert values["clock"] == {"workers": 1, "startup_seconds": 2.0, "evaluation_seconds": 0.0}
    assert values["rules"][0]["samples_share_mean"]["value"] == 1


def test_replay_writes_the_page(orchestrate, recorded, tmp_path):
    page = tmp_path / "page.html"
    answer = orchestrate("replay", recorded, "--rules", "ours", "--draws", 1, "--html", page)
    assert answer.code == 0
    assert "made" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--objective", "eval/los"), "did you mean 'eval/loss'"),
        (("--rules", "halvin"), "did you mean 'halving'"),
        (("--rules", ","), "at least one is needed"),
        (("--html", "no-such-folder/page.html"), "there is no folder"),
    ],
)
def test_replay_tells_wrong_input_in_one_line(orchestrate, recorded, words, told):
    answer = orchestrate("replay", recorded, "--draws", 1, *words)
    assert answer.code == 2
    assert told.lower() in answer.err.lower()
    assert "Traceback" not in answer.err


def test_replay_of_a_missing_file_and_of_an_unknown_mode(orchestrate, tmp_path):
    assert "no such file" in orchestrate("replay", tmp_path / "none.jsonl", "--rules", "ours").err
    assert orchestrate("replay", tmp_path / "none.jsonl", "--mode", "up").code == 2


def test_fit_and_score_a_forecast(orchestrate, tmp_path):
    files = []
    for seed in range(2):
        files.append(tmp_path / f"made{seed}.jsonl.gz")
        write_recorded(synthetic_sweep(12, seed), files[-1])
    weights = tmp_path / "mine.npz"
    fitted = orchestrate("fit-forecast", *files, "--out", weights, "--json")
    assert fitted.code == 0
    assert len(json.loads(fitted.out)["sweeps"]) == 2
    again = orchestrate("fit-forecast", *files, "--out", weights)
    assert again.code == 2
    assert "--force" in again.err
    scored = orchestrate("score-forecast", *files, "--weights", weights, "--json")
    assert scored.code == 0
    assert {stage["panels"] for stage in json.loads(scored.out)["stages"]} == {2}
    table = orchestrate("score-forecast", *files)
    assert "Probability to end best" in table.out
    wrong = orchestrate("score-forecast", *files, "--objective", "eval/los")
    assert wrong.code == 2
    assert "eval/loss" in wrong.err


def test_past_sweeps_of_an_empty_storage_are_told(orchestrate, recorded, tmp_path):
    answer = orchestrate(
        "fit-forecast", recorded, "--past", "--storage", tmp_path / "none", "--out", tmp_path / "w.npz"
    )
    assert answer.code == 2
    assert "--record" in answer.err
