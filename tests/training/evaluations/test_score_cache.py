"""Scores are known by the weights themselves: in memory, from a checkpoint, in another process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from orchestrator.errors import CheckpointError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.evaluations.contract.identity import settings_key
from orchestrator.training.evaluations.scoring.score_cache import weights_key
from orchestrator.training.setup.score_checkpoint import score_checkpoint
from orchestrator.training.setup.session import TrainingSession


@pytest.fixture
def setup(shared_model_folder: Path, tmp_path: Path) -> TrialSetup:
    train = tmp_path / "train.jsonl"
    train.write_text("\n".join(json.dumps({"question": f"what is {n}", "answer": "red"}) for n in range(16)))
    sets = (EvaluationSet("held"), EvaluationSet("match", "exact_match", max_new_tokens=4, when="end"))
    return TrialSetup(
        ModelSettings(str(shared_model_folder)), DataSettings(str(train), held_out=4), sets, TrainingSettings()
    )


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_checkpoint_is_scored_as_the_trial_was_and_only_once(setup: TrialSetup, tmp_path: Path, method: str) -> None:
    config = TrialConfig(method, 4, 1e-2, 8)
    session = TrainingSession(setup, tmp_path / "c", device="cpu")
    trial = session.trial(config, "t")
    trial.advance(8)
    scores = trial.evaluate(final=True)
    trial.save(tmp_path / "checkpoint")
    assert len(list((tmp_path / "c" / "scores").iterdir())) == 1, "a loss at every milestone is not kept"

    other = TrainingSession(replace(setup, evaluation=setup.evaluation[1:]), tmp_path / "c", device="cpu")
    found = score_checkpoint(other, config, tmp_path / "checkpoint")
    assert found.cached
    assert found.scores.values == {"match/exact_match": scores["match/exact_match"]}
    whole = score_checkpoint(session, config, tmp_path / "checkpoint")
    assert not whole.cached
    assert whole.scores.values == pytest.approx(scores, rel=1e-6)
    with pytest.raises(CheckpointError, match="another configuration"):
        score_checkpoint(session, replace(config, seed=1), tmp_path / "checkpoint")


def test_other_weights_settings_or_rows_are_other_scores(setup: TrialSetup, tmp_path: Path) -> None:
    session = TrainingSession(setup, tmp_path / "c", device="cpu")
    config = TrialConfig("full", 4, 1e-2, 8)
    method, model = session.wrapped(config)
    session.evaluate(model, method, config=config)
    session.evaluate(model, method, config=config)
    assert len(list(session.score_folder.iterdir())) == 1
    with torch.no_grad():
        next(iter(model.parameters())).add_(1e-3)
    session.evaluate(model, method, config=config)
    assert len(list(session.score_folder.iterdir())) == 2
    longer = replace(setup, evaluation=(replace(setup.evaluation[1], max_new_tokens=5),))
    TrainingSession(longer, tmp_path / "c", device="cpu").evaluate(model, method, config=config)
    assert len(list(session.score_folder.iterdir())) == 3
    cut = replace(setup, evaluation=(replace(setup.evaluation[1], limit=2),))
    TrainingSession(cut, tmp_path / "c", device="cpu").evaluate(model, method, config=config)
    assert len(list(session.score_folder.iterdir())) == 4


def test_the_key_of_weights_sees_names_types_shapes_and_every_bit() -> None:
    one = {"a": torch.tensor([1.0, 2.0]), "b": torch.ones(2, 2, dtype=torch.bfloat16), "c": torch.tensor(3.0)}
    key = weights_key(one)
    assert weights_key(dict(reversed(one.items()))) == key
    changed = [
        {**one, "a": torch.tensor([1.0, 2.0000002])},
        {**one, "a": torch.tensor([1.0, 2.0]).double()},
        {**one, "b": torch.ones(4, dtype=torch.bfloat16)},
        {"x" if name == "a" else name: tensor for name, tensor in one.items()},
    ]
    assert len({key, *map(weights_key, changed)}) == 5


def test_what_does_not_change_scores_is_no_part_of_their_key() -> None:
    entry = EvaluationSet("a", "exact_match", "rows.jsonl")
    assert settings_key(entry) == settings_key(replace(entry, name="b", when="end", detached=True))
    assert settings_key(entry) != settings_key(replace(entry, extract="#### (.*)"))


def test_a_corrected_answer_key_has_a_quiz_scored_anew(setup: TrialSetup, tmp_path: Path) -> None:
    quiz = tmp_path / "quiz.jsonl"

    def right(answer: int) -> float:
        rows = [{"question": f"what is {n}", "choices": ["red", "blue", "five"], "answer": answer} for n in range(7)]
        quiz.write_text("\n".join(map(json.dumps, rows)))
        asked = replace(setup, evaluation=(EvaluationSet("quiz", "multiple_choice", str(quiz)),))
        session = TrainingSession(asked, tmp_path / "c", device="cpu")
        config = TrialConfig("full", 4, 1e-2, 8)
        method, model = session.wrapped(config)
        whole = session.base_evaluation.values["quiz/accuracy"]
        assert session.evaluate(model, method, config=config).values["quiz/accuracy"] == whole, "the untrained model"
        return whole

    assert sum(map(right, range(3))) == pytest.approx(1.0), "each row has one likeliest choice"
