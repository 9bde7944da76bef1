from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.evaluations.multiple_choice.rows import read_questions
from orchestrator.training.evaluations.scoring.evaluator import Evaluator
from orchestrator.training.setup.session import TrainingSession

Write = Callable[[str, str], str]
WORDS = ["red", "blue", "five cat", "hello world good day", "a mat"]


def questions(count: int = 12) -> list[dict[str, Any]]:
    return [
        {"question": f"what is {n} plus {n % 3}", "choices": [WORDS[(n + k) % 5] for k in range(4)], "answer": n % 4}
        for n in range(count)
    ]


def lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


@pytest.fixture
def session(shared_model_folder: Path, write: Write, tmp_path: Path) -> Callable[..., TrainingSession]:
    train = write("train.jsonl", lines([{"question": f"what is {n}", "answer": "red"} for n in range(8)]))
    choices = write("choices.jsonl", lines(questions()))

    def make(*sets: EvaluationSet, **data: Any) -> TrainingSession:
        settings = DataSettings(train, **data)
        placed = tuple(
            EvaluationSet(**{**entry.__dict__, "data": choices if entry.data == "choices" else entry.data})
            for entry in sets
        )
        setup = TrialSetup(ModelSettings(str(shared_model_folder)), settings, placed, TrainingSettings())
        return TrainingSession(setup, tmp_path / "c", device="cpu")

    return make


def lively(session: TrainingSession) -> Any:
    """Return the base with larger weights: a fresh model hardly tells choices apart."""
    model: Any = session.base
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    return model


def by_hand(model: Any, tokenizer: Any, prompt: str, choice: str) -> float:
    """Log-likelihood of a choice after a prompt, from the definition, one sequence at a time."""
    start = len(tokenizer(prompt)["input_ids"])
    ids = torch.tensor(tokenizer(prompt + choice)["input_ids"])
    with torch.no_grad():
        scores = model(ids.unsqueeze(0)).logits[0].log_softmax(dim=-1)
    return float(sum(scores[place - 1, ids[place]] for place in range(start, len(ids))))


@pytest.mark.parametrize("prompt", ["chat", "plain"])
def test_accuracy_equals_the_definition_question_by_question(
    session: Callable[..., TrainingSession], tokenizer: Any, prompt: str
) -> None:
    made = session(EvaluationSet("quiz", "multiple_choice", "choices", prompt=prompt))
    model = lively(made)
    found = made.evaluate(model)
    raw, normalised = [], []
    for row in questions():
        text = f"Question: {row['question']}\nAnswer:"
        if prompt == "chat":
            text = f"<|im_start|>user\n{row['question']}<|im_end|>\n<|im_start|>assistant\n"
        space = "" if prompt == "chat" else " "
        scores = [by_hand(model, tokenizer, text, space + choice) for choice in row["choices"]]
        raw.append(int(np.argmax(scores)) == row["answer"])
        lengths = [len(choice) for choice in row["choices"]]
        normalised.append(int(np.argmax(np.array(scores) / lengths)) == row["answer"])
    assert found.values["quiz/accuracy"] == pytest.approx(np.mean(raw))
    assert found.values["quiz/accuracy_normalised"] == pytest.approx(np.mean(normalised))
    share = np.mean(raw)
    assert found.standard_errors["quiz/accuracy"] == pytest.approx(math.sqrt(share * (1 - share) / 11))


def test_letters_list_the_choices_and_few_shot_examples_are_not_scored(
    session: Callable[..., TrainingSession], tokenizer: Any
) -> None:
    made = session(
        EvaluationSet("quiz", "multiple_choice", "choices", prompt="plain", choices="letters", num_fewshot=2),
        too_long="truncate",
    )
    model, entry = lively(made), made.parts.sets[0]
    found = made.evaluate(model)
    assert set(found.values) == {"quiz/accuracy"}
    assert entry.note["scored"] == 10
    whole = tokenizer.decode(entry.data[0][0][~entry.data[0][1]])
    shown = questions()

    def block(row: dict[str, Any]) -> str:
        listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", row["choices"], strict=True))
        return f"{row['question']}\n{listed}\nAnswer:"

    expected = f"{block(shown[0])} A\n\n{block(shown[1])} B\n\n{block(shown[2])}"
    assert expected.endswith(whole)
    hits = []
    for question, row in enumerate(shown[2:]):
        prompt = tokenizer.decode(entry.data[4 * question][0][:-1])
        scores = [by_hand(model, tokenizer, prompt, f" {letter}") for letter in "ABCD"]
        hits.append(int(np.argmax(scores)) == row["answer"])
    assert found.values["quiz/accuracy"] == pytest.approx(np.mean(hits))
    assert len(entry.data[0][0]) <= 128


def test_a_split_into_other_batches_gives_the_same_scores(
    session: Callable[..., TrainingSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.training.evaluations.contract import evaluation as base

    made = session(EvaluationSet("quiz", "multiple_choice", "choices"), EvaluationSet("loss", perplexity=True))
    model = lively(made)
    one = made.evaluate(model)
    monkeypatch.setattr(base, "_batch_tokens", lambda *_: 30)
    other = Evaluator(made.parts.sets, made.parts.answer_tokens).evaluate(model)
    assert other.values == pytest.approx(one.values, rel=1e-5)


def test_perplexity_is_the_exponential_of_the_loss_with_the_delta_methods_error(
    session: Callable[..., TrainingSession],
) -> None:
    found = session(EvaluationSet("eval", perplexity=True), held_out=0.5).evaluate(session(EvaluationSet("eval")).base)
    loss, error = found.values["eval/loss"], found.standard_errors["eval/loss"]
    assert found.values["eval/perplexity"] == pytest.approx(math.exp(loss))
    assert found.standard_errors["eval/perplexity"] == pytest.approx(math.exp(loss) * error)


def test_questions_are_read_in_the_shapes_in_which_they_come() -> None:
    arc = {"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    lettered = {"question": "q", "A": "x", "B": "y", "answer": "B"}
    in_text = {
        "instruction": "Answer.",
        "input": "Question: Which, if any? Options: A. one, two, B. B. Goode, C. three",
        "output": "The answer is: B. B. Goode",
    }
    assert read_questions([arc], {}, "f", [1])[0].gold == 1
    assert read_questions([lettered], {}, "f", [1])[0].choices == ("x", "y")
    found = read_questions([in_text], {}, "f", [1])[0]
    assert (found.text, found.choices, found.gold) == ("Which, if any?", ("one, two", "B. Goode", "three"), 1)
    mapped = {"ask": "q", "choices": ["x", "y"], "answer": "y"}
    assert read_questions([mapped], {"question": "ask"}, "f", [1])[0].gold == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "choices": ["x", "y"]}, "no column for the answer"),
        ({"question": "q", "answer": 0}, "no column for the choices"),
        ({"question": "q", "choices": ["x"], "answer": 0}, "at least two choices"),
        ({"question": "q", "choices": ["x", "y"], "answer": 2}, "names none of the 2 choices"),
        ({"question": "q", "choices": ["x", " "], "answer": 0}, "a choice is empty"),
        ({"instruction": "i", "input": "no choices here", "output": "A. x"}, "names no choices"),
    ],
)
def test_wrong_questions_are_told_with_their_row(row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_questions([row], {}, "quiz.jsonl", [7])


def test_questions_longer_than_the_model_are_an_error_unless_asked_otherwise(
    session: Callable[..., TrainingSession], write: Write
) -> None:
    long = write("long.jsonl", lines([{**row, "question": "five cat " * 80} for row in questions(3)] + questions(2)))
    entry = EvaluationSet("quiz", "multiple_choice", long)
    with pytest.raises(DataError, match=r"too_long: a question has .* the model takes 128"):
        _ = session(entry).parts
    assert session(entry, too_long="drop").parts.sets[0].note["scored"] == 2
    cut = session(entry, too_long="truncate").parts.sets[0]
    assert cut.note["scored"] == 5
    assert int(cut.data.lengths.max()) == 128
    assert set(session(entry, too_long="truncate").evaluate(session(entry, too_long="drop").base).values)
