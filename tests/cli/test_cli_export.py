"""export: folders that plain transformers and peft load and score as the sweep did, and one message where there is none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from orchestrator.api import export_trial, read_sweep
from orchestrator.api.export.export import open_session
from orchestrator.records import Outcome
from orchestrator.reporting.cards.model_card import CardFacts, model_card
from orchestrator.storage.sweep_folder import SweepFolder
from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows

Orchestrate = Callable[..., Any]


def held_out_loss(model: Any, folder: SweepFolder) -> float:
    """Token-mean cross-entropy on the held-out answers, computed with nothing of this package but the rows."""
    rows = open_session(folder).parts.data.held_out
    assert rows is not None
    total, count = 0.0, 0
    for index in range(len(rows)):
        ids, learned = (torch.from_numpy(part.copy()) for part in rows[index])
        ids, learned = ids.long(), learned.bool()
        with torch.no_grad():
            logits = model.eval()(input_ids=ids[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits[learned[1:]], ids[1:][learned[1:]], reduction="none")
        total, count = total + float(losses.sum()), count + len(losses)
    return total / count


def recorded_loss(folder: SweepFolder, trial_id: str) -> float:
    return read_sweep(folder).trial(trial_id).result.scores["eval/loss"]


def test_winner_is_written_and_scores_the_same_with_plain_transformers(
    orchestrate: Orchestrate, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)  # works from another folder
    answer = orchestrate("export", trained.folder.root, "--to", "best", "--json")
    assert answer.code == 0, answer.err
    values = json.loads(answer.out)
    assert (values["trial_id"], values["form"], values["library"]) == (trained.full, "model", "transformers")
    assert set(values["files"]) == {file.name for file in Path("best").iterdir()}
    model = AutoModelForCausalLM.from_pretrained("best")
    assert held_out_loss(model, trained.folder) == pytest.approx(recorded_loss(trained.folder, trained.full), rel=1e-5)
    tokenizer = AutoTokenizer.from_pretrained("best")
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "w1 w2"}], tokenize=False)
    assert prompt.startswith("### User:\nw1 w2")
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")], "the draft is gone"


def test_adapter_and_its_merge_score_the_same(trained: Any, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    adapter = export_trial(trained.folder, tmp_path / "adapter", trial="lora r4 lr0.01 ebs8 s0")
    assert (adapter.form, adapter.plain_lora, adapter.converted) == ("adapter", True, False)
    merged = export_trial(trained.folder, tmp_path / "merged", trial=trained.lora[:6], merge=True)
    assert merged.form == "merged"
    expected = pytest.approx(recorded_loss(trained.folder, trained.lora), rel=1e-5)
    # The adapter names its base by itself.
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert held_out_loss(loaded, trained.folder) == expected
    assert held_out_loss(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"), trained.folder) == expected


def test_weights_are_written_in_the_type_that_was_asked_for(trained: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    result = export_trial(trained.folder, tmp_path / "half", dtype="bfloat16")
    assert result.dtype == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    full = export_trial(trained.folder, tmp_path / "full")
    assert full.dtype == "float32"
    assert full.parameters == result.parameters
    assert full.bytes > 1.5 * result.bytes - 200_000


def test_card_says_where_the_model_comes_from(trained: Any, tmp_path: Path) -> None:
    export_trial(trained.folder, tmp_path / "card", trial=trained.stopped)
    text = (tmp_path / "card" / "README.md").read_text()
    front, body = text.removeprefix("---\n").split("---\n", 1)
    values = yaml.safe_load(front)
    assert values["library_name"] == "transformers"
    assert "base_model" not in values, "the hub takes no folders there"
    (metric,) = [entry["metrics"][0] for entry in values["model-index"][0]["results"]]
    assert metric["name"] == "eval/loss"
    history = read_sweep(trained.folder)
    assert all(digest in body for digest in history.inputs.values())
    assert f"orchestrate rerun tiny {trained.stopped}" in body
    assert "was not trained to its end: stopped. a \\| reason \\<b\\>" in body
    capsule = json.loads((tmp_path / "card" / "orchestrate.json").read_text())
    assert capsule["trial"]["trial_id"] == trained.stopped
    assert capsule["environment"]["versions"]["torch"]


def test_card_is_safe_against_texts_from_data(trained: Any) -> None:
    history = read_sweep(trained.folder)
    hostile = "a'\"b\n---\n: [<script>alert(1)</script>] ```| `x`"
    content = {**history.content, "data": {**history.content["data"], "train": hostile}}
    facts = CardFacts("adapter", hostile, True, "float32", 10, True, 64, None, False)
    trial = history.trial(trained.lora)
    named = replace(trial, result=replace(trial.result, name=hostile))
    text = model_card(replace(history, content=content), named, facts)
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    values = yaml.safe_load(front)
    assert values["base_model"] == hostile
    assert values["model-index"][0]["results"][0]["dataset"]["type"] == hostile
    outside, inside = [], False
    for line in body.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            outside.append(line)
    assert not inside
    # A backslash takes a sign its meaning, and code shows as it is written; anything else would be HTML.
    shown = re.sub(r"`[^`]*`", "", re.sub(r"\\.", "", "\n".join(outside)))
    assert "<" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trial", "lora r4 lr0.02 ebs8 s0"], "this sweep has no such trial. Did you mean 'lora r4 lr0.01 ebs8 s0'?"),
        (["--merge", "--trial", "lora r4 lr0.01 ebs8 s0", "--register", "x"], "MLflow holds no run of this trial"),
    ],
)
def test_wrong_words_are_one_line(
    orchestrate: Orchestrate, trained: Any, tmp_path: Path, words: list[str], said: str
) -> None:
    answer = orchestrate("export", trained.folder.root, "--to", tmp_path / "x", *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_unknown_sweep_names_the_nearest(orchestrate: Orchestrate, trained: Any, tmp_path: Path) -> None:
    answer = orchestrate("export", "tinny", "--storage", trained.folder.storage, "--to", tmp_path / "x")
    assert (answer.code, answer.err.endswith("Did you mean 'tiny'?\n")) == (2, True)


def test_folder_is_kept_unless_it_holds_a_model_that_may_be_replaced(
    orchestrate: Orchestrate, trained: Any, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    for words, said in (([], "this folder is not empty"), (["--force"], "this folder holds no model but thesis.txt")):
        answer = orchestrate("export", trained.folder.root, "--to", place, *words)
        assert answer.code == 2
        assert said in answer.err
    assert (place / "thesis.txt").read_text() == "mine"
    (place / "thesis.txt").unlink()
    assert orchestrate("export", trained.folder.root, "--to", place, "--no-check").code == 0
    assert orchestrate("export", trained.folder.root, "--to", place, "--no-check").code == 2
    words = ["--force", "--no-check", "--trial", trained.lora]
    assert orchestrate("export", trained.folder.root, "--to", place, *words).code == 0
    assert (place / "adapter_config.json").exists()
    assert not (place / "config.json").exists(), "the earlier model is gone as a whole"


def test_checkpoint_that_is_gone_or_damaged(orchestrate: Orchestrate, trained: Any, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    shutil.copytree(trained.folder.storage, storage)
    folder = SweepFolder(storage, "tiny")
    checkpoint = folder.checkpoint(trained.full, 1)
    kept = tmp_path / "kept"
    checkpoint.rename(kept)
    answer = orchestrate("export", "tiny", "--storage", storage, "--to", tmp_path / "x")
    assert answer.code == 2
    assert "the checkpoint of this trial is gone. Train it again: orchestrate rerun" in answer.err
    given = orchestrate("export", "tiny", "--storage", storage, "--to", tmp_path / "x", "--checkpoint", kept)
    assert given.code == 0, given.err
    (kept / "weights.safetensors").write_bytes(b"\0" * (kept / "weights.safetensors").stat().st_size)
    damaged = orchestrate("export", "tiny", "--storage", storage, "--to", tmp_path / "y", "--checkpoint", kept)
    assert damaged.code == 1
    assert "is not what the manifest says" in damaged.err
    other = orchestrate(
        "export",
        "tiny",
        "--storage",
        storage,
        "--to",
        tmp_path / "y",
        "--checkpoint",
        folder.checkpoint(trained.lora, 1),
    )
    assert (other.code, "is of another configuration" in other.err) == (1, True)
    assert not (tmp_path / "y").exists()


def test_sweep_without_a_finished_trial_says_so(orchestrate: Orchestrate, tiny_base: Path, tmp_path: Path) -> None:
    sweep = Driverless(tiny_spec(tiny_base, write_rows(tmp_path / "rows.jsonl"), tmp_path / "runs"))
    sweep.train(config("full", 1e-3), milestones=1, outcome=Outcome.STOPPED)
    sweep.end("interrupted")
    answer = orchestrate("export", "tiny", "--storage", tmp_path / "runs", "--to", tmp_path / "x")
    assert answer.code == 2
    assert "no trial of this sweep was trained to its end" in answer.err
    assert "--trial 'full lr1e-3 ebs8 s0'" in answer.err
    named = orchestrate(
        "export", "tiny", "--storage", tmp_path / "runs", "--to", tmp_path / "x", "--trial", "full lr1e-3 ebs8 s0"
    )
    assert named.code == 0, named.err


def test_relative_paths_of_the_sweep_lead_from_where_it_was_run(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    shutil.copytree(tiny_base, home / "model")
    write_rows(home / "rows.jsonl")
    monkeypatch.chdir(home)
    sweep = Driverless(tiny_spec(Path("model"), Path("rows.jsonl"), home / "runs"))
    sweep.train(config("lora", 1e-2, r=4))
    folder = sweep.end()
    monkeypatch.chdir(elsewhere)
    result = export_trial(folder, "out")
    assert result.form == "adapter"
    base = json.loads((elsewhere / "out" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(base) == home / "model"


@pytest.mark.parametrize("relative", [True, False])
def test_sweep_that_was_moved_with_model_and_data_finds_them_again(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orchestrate: Orchestrate, relative: bool
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    shutil.copytree(tiny_base, home / "model")
    write_rows(home / "rows.jsonl")
    monkeypatch.chdir(home)
    lead = Path() if relative else home
    sweep = Driverless(tiny_spec(lead / "model", lead / "rows.jsonl", home / "runs"))
    trial = sweep.train(config("lora", 1e-2, r=4))
    sweep.end()
    monkeypatch.chdir(tmp_path)
    home.rename(elsewhere)
    root = elsewhere / "runs" / "tiny"
    assert orchestrate("rerun", root, trial).code == 0
    assert orchestrate("export", root, "--to", tmp_path / "out").code == 0
    (elsewhere / "rows.jsonl").unlink()
    for words in (["rerun", root, trial], ["extend", root, "--trials", "1"]):
        answer = orchestrate(*words)
        assert answer.code == 2, answer.err
        assert "this sweep read it, and it is gone" in answer.err
        assert str(home / "rows.jsonl") in answer.err
        assert str(elsewhere / "rows.jsonl") in answer.err
