"""``orchestrate recommend``: a sweep file that validates and plans, from guidance and from past sweeps on disk and in MLflow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Answer, Trained

from orchestrator import load_sweep, plan_trials, recommend_search_space
from orchestrator.api import validate_sweep
from orchestrator.records import Outcome, TrialConfig
from orchestrator.spec.loading import parse_sweep
from orchestrator.tracking.tracker import SweepInfo, SweepOutcome, TrialInfo
from orchestrator.tracking.trackers import TrackerTask, open_tracker
from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


@pytest.fixture(autouse=True)
def folder_without_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past sweeps are looked for in ``runs``, where a working copy that was used has some."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl")


@pytest.fixture(scope="module")
def past(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder in which full fine-tuning was swept over five rates; returns the folder."""
    folder = tmp_path_factory.mktemp("past")
    spec = tiny_spec(tiny_base, write_rows(folder / "rows.jsonl"), folder / "runs", name="earlier")
    sweep = Driverless(spec)
    for rate in RATES:
        sweep.train(config("full", rate))
    sweep.end()
    return folder / "runs"


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A tracking store with a finished sweep of LoRA, whose best rate is 1e-3, on a model that is not here."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    params = {
        "model": "far/model",
        "data": "far/rows",
        "objective": "eval/loss",
        "mode": "min",
        "samples_per_trial": 320,
        "model_family": "llama",
        "model_width": 48,
        "model_parameters": 50_000,
    }
    info = SweepInfo("7" * 16, "far-sweep", params, {"spec.digest": "abc"}, objective="eval/loss", mode="min")
    tracker = open_tracker(TrackerTask(uri, tmp_path, info, tmp_path / "far-sweep" / "outbox.jsonl"))
    for number, rate in enumerate(RATES):
        trial_id = f"trial{number}"
        tracker.start_trial(TrialInfo.of(trial_id, TrialConfig("lora", 16, rate, 320)))
        tracker.end_trial(trial_id, Outcome.COMPLETED, 320, scores={"eval/loss": 1.0 + abs(rate - 1e-3)})
    tracker.end_sweep(SweepOutcome.COMPLETED)
    assert tracker.flush(60)
    tracker.close()
    return uri


def test_file_validates_and_plans(
    orchestrate: Callable[..., Answer], tiny_base: Path, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "made" / "mine.yaml"
    answer = orchestrate("recommend", "--model", tiny_base, "--data", rows, "--budget", "8-trials", "--out", out)
    assert answer.code == 0, answer.err
    assert f"orchestrate plan {out}" in answer.out.replace("\n", "")
    spec = load_sweep(out, [f"storage={json.dumps(str(tmp_path / 'runs'))}"])
    planned = plan_trials(spec)
    assert len(planned.trials) == 8
    assert not (tmp_path / "runs" / spec.name / "journal.jsonl").exists()
    again = orchestrate("recommend", "--model", tiny_base, "--data", rows, "--budget", "8-trials", "--out", out)
    assert again.code == 2
    assert "this file exists" in again.err


def test_printed_file_is_the_file(orchestrate: Callable[..., Answer], tiny_base: Path, rows: Path) -> None:
    words = ("recommend", "--model", tiny_base, "--data", rows, "--budget", "8-trials")
    printed = orchestrate(*words)
    told = json.loads(orchestrate(*words, "--json").out)
    assert printed.out == told["yaml"]
    assert yaml.safe_load(printed.out) == told["values"]
    assert {"field", "value", "reason", "sources"} == set(told["advice"][0])
    assert told["file"] is None


def test_no_weights_are_needed(tiny_base: Path, rows: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        shutil.copy(tiny_base / name, tmp_path / "bare" / name)
    found = recommend_search_space(str(tmp_path / "bare"), str(rows), "8-trials")
    assert "reckoned" not in " ".join(found.notes)
    (tmp_path / "bare" / "tokenizer.json").unlink()
    (tmp_path / "bare" / "tokenizer_config.json").unlink()
    assert "reckoned from characters" in " ".join(
        recommend_search_space(str(tmp_path / "bare"), str(rows), "8-trials").notes
    )


def test_models_of_the_paper_need_not_be_here(rows: Path) -> None:
    expected = "data.expected={rows: 800000, mean_tokens: 400}"
    found = recommend_search_space("ibm-granite/granite-7b-base", "not/here", "12-trials", overrides=[expected])
    space = found.values["search_space"]
    low, high = space["method"]["lora"]["learning_rate"]["log_uniform"]
    assert 2e-5 < low < 3e-4 < high < 3e-3
    assert space["effective_batch_size"] == [128, 256]
    assert "reckoned" in " ".join(found.notes)


def test_minutes_become_samples_and_a_wall_limit(tiny_base: Path, rows: Path) -> None:
    short, long = (recommend_search_space(str(tiny_base), str(rows), budget) for budget in ("1-minutes", "60-minutes"))
    assert [found.values["budget"]["wall_minutes"] for found in (short, long)] == [1.0, 60.0]
    spent = [found.values["budget"]["trials"] * found.values["budget"]["samples"] for found in (short, long)]
    assert 0 < spent[0] <= spent[1]


@pytest.mark.parametrize(
    ("objective", "source", "metrics"),
    [
        ("downstream", "testbed:knowledge", ["task/exact_match"]),
        ("forgetting", "testbed:biographies", ["eval/loss", "general/forgetting"]),
    ],
)
def test_other_objectives_are_valid_sweeps(objective: str, source: str, metrics: list[str], tmp_path: Path) -> None:
    found = recommend_search_space("testbed", "testbed:sft?rows=200", "6-trials", objective=objective)
    assert [entry["data"] for entry in found.values["evaluation"]] == ["held_out", source]
    spec = parse_sweep({**found.values, "storage": str(tmp_path / "runs")})
    assert list(validate_sweep(spec).spec.objective.weights) == metrics


def test_past_sweeps_of_the_storage_count(tiny_base: Path, past: Path) -> None:
    data = str(past.parent / "rows.jsonl")
    plain = recommend_search_space(str(tiny_base), data, "8-trials", methods=["full"])
    told = recommend_search_space(str(tiny_base), data, "8-trials", methods=["full"], storage=past)
    assert told.past_sweeps == ("earlier",)
    assert [each.similarity for each in told.evidence if each.method == "full"] == [1.0] or told.evidence[
        0
    ].similarity > 0.8
    ranges = [found.values["search_space"]["method"]["full"]["learning_rate"]["log_uniform"] for found in (plain, told)]
    assert ranges[1][1] / ranges[1][0] < ranges[0][1] / ranges[0][0]


def test_past_sweeps_of_a_tracking_store_count(tiny_base: Path, rows: Path, store: str) -> None:
    found = recommend_search_space(str(tiny_base), str(rows), "8-trials", tracking_uri=store)
    assert found.past_sweeps == ("far-sweep",)
    piece = next(each for each in found.evidence if each.field.endswith("lora.learning_rate"))
    assert (piece.sweep, piece.method, piece.trials) == ("far-sweep", "lora", 5)
    assert 1e-4 < piece.best < 3e-3
    assert 0 < piece.weight < piece.similarity < 1


def test_sweep_that_cannot_be_read_is_named_and_left_out(
    trained: Trained, tmp_path: Path, tiny_base: Path, rows: Path
) -> None:
    storage = tmp_path / "runs"
    shutil.copytree(trained.folder.root, storage / "good")
    (storage / "bad").mkdir()
    (storage / "bad" / "journal.jsonl").write_text("no journal\n")
    found = recommend_search_space(str(tiny_base), str(rows), "8-trials", storage=storage)
    assert any("Left out the sweep bad" in note for note in found.notes)
    assert found.past_sweeps == ("good",)


def test_own_fields_are_used_and_kept(tiny_base: Path, tmp_path: Path) -> None:
    lines = [{"ask": f"w{n % 30} w{n % 7}", "reply": f"w{n % 17}"} for n in range(60)]
    file = tmp_path / "odd.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    own = ["data.columns={prompt: ask, completion: reply}", "search_space.schedule=cosine", "name=mine"]
    found = recommend_search_space(str(tiny_base), str(file), "8-trials", overrides=own)
    assert found.values["data"]["columns"] == {"prompt": "ask", "completion": "reply"}
    assert found.values["search_space"]["schedule"] == "cosine"
    assert found.values["name"] == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "8"], "must be a number with its unit"),
        (["--budget", "1-trials"], "a search needs at least 2"),
        (["--objective", "los"], "did you mean 'loss'"),
        (["--objective", "downstream"], "--task FILE"),
        (["--task", "x.jsonl"], "is used with --objective downstream only"),
        (["--method", "lroa"], "--method: method = 'lroa': there is no method of this name. Did you mean 'lora'?"),
        (["--budget", "lots"], "must be a number with its unit"),
        (["--budget", "0-trials"], "must be above 0"),
        (["--budget", "5-samples"], "holds 0 trials of 64 samples"),
        (["--data", "THREE"], "its 3 rows make trials of 9 samples"),
        (["--data", "TORN"], "torn.jsonl:2: is not valid JSON"),
        (["--out", "THREE/x.yaml"], "a part of this path is a file, not a folder"),
        (["--storage", "nowhere"], "no such folder of past sweeps"),
        (["--tracking-uri", "sqlite:////nowhere/m.db"], "no such database"),
        (["--data", "nowhere.jsonl"], "no such file"),
        (["--model", "./nowhere"], "no such model folder"),
        (["--set", "search_space.schedule=sine"], "there is no schedule"),
        (["--set", "data.traim=x"], "did you mean"),
    ],
)
def test_wrong_input_is_one_clear_message(
    orchestrate: Callable[..., Answer], tiny_base: Path, rows: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    out = tmp_path / "out.yaml"
    base = {"--model": str(tiny_base), "--data": str(rows), "--budget": "8-trials", "--out": str(out)}
    (tmp_path / "three.jsonl").write_text('{"prompt": "w1", "completion": "w2"}\n' * 3)
    (tmp_path / "torn.jsonl").write_text('{"prompt": "w1", "completion": "w2"}\n{"prompt"')
    for name in ("three", "torn"):
        words = [word.replace(name.upper(), str(tmp_path / f"{name}.jsonl")) for word in words]
    given = dict(zip(words[::2], words[1::2], strict=True))
    answer = orchestrate("recommend", *(word for pair in {**base, **given}.items() for word in pair))
    assert answer.code == 2
    assert said.lower() in " ".join(answer.err.split()).lower()
    assert answer.err.count("error") == 1
    assert not out.exists()
