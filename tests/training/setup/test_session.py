from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import DataError, InputError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.setup.inspect import inspect_setup
from orchestrator.training.setup.session import TrainingSession

Write = Callable[[str, str], str]


@pytest.fixture
def setup(shared_model_folder: Path, write: Write) -> TrialSetup:
    words = ["red", "blue", "five", "cat"]
    rows = [{"question": f"what is {n}", "answer": words[n % 4], "id": n} for n in range(44)]
    rows += [{"question": "what is 3", "answer": "cat", "id": 0}] * 4
    train = write("train.jsonl", "\n".join(json.dumps(row) for row in rows))
    text = write("text.txt", "the cat sat on a mat and what is two plus three " * 20)
    sets = (
        EvaluationSet("held"),
        EvaluationSet("match", "exact_match", max_new_tokens=4, when="end"),
        EvaluationSet("text", "text_loss", text),
    )
    return TrialSetup(
        ModelSettings(str(shared_model_folder)), DataSettings(train, held_out=0.25), sets, TrainingSettings()
    )


def config(method: str = "full", **values: Any) -> TrialConfig:
    return TrialConfig(method, 8, 3e-3, 64, **values)


def test_session_trains_and_scores_trials(setup: TrialSetup, tmp_path: Path) -> None:
    session = TrainingSession(setup, tmp_path / "c", threads=1, device="cpu")
    assert session.rows == 36
    base = session.base_scores()
    assert base["text/forgetting"] == 0.0
    assert set(base) == {"held/loss", "match/exact_match", "text/loss", "text/forgetting"}
    trial = session.trial(config(), "t1")
    advance = trial.advance(64)
    assert trial.done
    assert advance.signals[-1].loss < advance.signals[0].loss
    assert set(trial.evaluate(final=False)) == {"held/loss", "text/loss", "text/forgetting"}
    scores = trial.evaluate(final=True)
    assert scores["held/loss"] < base["held/loss"]
    assert scores["text/forgetting"] == pytest.approx(scores["text/loss"] - base["text/loss"], abs=1e-6)
    assert session.last_scores is not None
    assert set(session.last_scores.standard_errors) == set(scores)


def test_session_gives_the_same_trial_whatever_ran_before(setup: TrialSetup, tmp_path: Path) -> None:
    session = TrainingSession(setup, tmp_path / "c", device="cpu")
    losses = []
    for method in ("lora", "full", "lora", "full"):
        trial = session.trial(config(method), "t")
        losses.append([signal.loss for signal in trial.advance(32).signals])
        trial.evaluate(final=True)
        losses[-1] += [signal.loss for signal in trial.advance(64).signals]
        trial.close()
    assert losses[0] == losses[2]
    assert losses[1] == losses[3]
    undisturbed = session.trial(config("lora"), "t").advance(64)
    assert [signal.loss for signal in undisturbed.signals] == losses[0]


def test_base_scores_are_computed_once_for_all_processes(setup: TrialSetup, tmp_path: Path) -> None:
    first = TrainingSession(setup, tmp_path / "c", device="cpu")
    scores = first.base_scores()
    second = TrainingSession(setup, tmp_path / "c", device="cpu")
    assert second.base_scores() == scores
    assert "base" not in second.__dict__
    other = replace(setup, evaluation=setup.evaluation[:1])
    assert set(TrainingSession(other, tmp_path / "c", device="cpu").base_scores()) == {"held/loss"}


def test_session_does_not_grow_with_its_trials(setup: TrialSetup, tmp_path: Path) -> None:
    session = TrainingSession(replace(setup, evaluation=setup.evaluation[:1]), tmp_path / "c", device="cpu")

    def one(number: int) -> weakref.ref[Any]:
        trial = session.trial(config(("full", "lora")[number % 2]), f"t{number}")
        trial.advance(8)
        trial.evaluate(final=False)
        model = weakref.ref(trial.model)
        trial.close()
        return model

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    one(0), one(1)
    before = tensors()
    models = [one(number) for number in range(50)]
    assert tensors() == before
    assert all(model() is None for model in models)


def test_mixed_precision_trials_train(setup: TrialSetup, tmp_path: Path) -> None:
    mixed = replace(setup, training=TrainingSettings(precision="bfloat16"))
    session = TrainingSession(mixed, tmp_path / "c", device="cpu")
    for method in ("full", "lora", "bitfit"):
        trial = session.trial(config(method), "t")
        kinds = {parameter.dtype for parameter in trial.model.parameters() if parameter.requires_grad}
        assert kinds == {torch.float32}
        trial.advance(16)
        assert trial.evaluate(final=True)["held/loss"] > 0


def test_close_lets_go_of_model_and_data(setup: TrialSetup, tmp_path: Path) -> None:
    session = TrainingSession(setup, tmp_path / "c", device="cpu")
    model = weakref.ref(session.base)
    session.close()
    assert model() is None
    assert session.rows == 36


def test_inspect_setup_reports_everything(setup: TrialSetup, tmp_path: Path) -> None:
    report = inspect_setup(setup, tmp_path / "c", device="cpu")
    assert report.model.model_class == "LlamaForCausalLM"
    assert (report.model.length_limit, report.model.template, report.model.end_of_turn) == (
        128,
        "tokenizer",
        "<|im_end|>",
    )
    assert (report.data.rows_found, report.data.rows_kept, report.data.format) == (48, 48, "question_answer")
    assert report.data.unused_columns == ("id",)
    assert (report.train.rows, report.held_out.rows if report.held_out else 0) == (36, 12)
    assert report.train.median <= report.train.percentile_95 <= report.train.longest
    assert 0 < report.train.answer_tokens < report.train.tokens
    assert [entry.rows for entry in report.evaluation][:2] == [12, 12]
    assert report.duplicates >= 1
    session = TrainingSession(setup, tmp_path / "c", device="cpu")
    assert report.train_digest == session.train_digest
    assert json.loads(json.dumps(report.as_dict()))["train"]["rows"] == 36


def test_inspect_setup_finds_what_is_wrong_without_training(setup: TrialSetup, tmp_path: Path) -> None:
    missing = replace(setup, data=replace(setup.data, train=setup.data.train.replace("train", "trian")))
    with pytest.raises(DataError, match=r"Did you mean 'train.jsonl'"):
        inspect_setup(missing, tmp_path / "c")
    with pytest.raises(InputError):
        inspect_setup(replace(setup, model=ModelSettings("./nothing-here")), tmp_path / "c")
    with pytest.raises(InputError, match="Did you mean 'lora'"):
        TrainingSession(setup, tmp_path / "c", device="cpu").trial(config("loar"), "t")
