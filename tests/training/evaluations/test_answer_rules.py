"""Exact match of what a rule extracts, and verifiable instructions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.evaluations.exact_match.exact_match import comparable, normalise_number
from orchestrator.training.setup.session import TrainingSession

Write = Callable[[str, str], str]
GSM8K = "#### (.*)"


def session_of(folder: Path, cache: Path, train: str, *sets: EvaluationSet, **data: Any) -> TrainingSession:
    setup = TrialSetup(ModelSettings(str(folder)), DataSettings(train, **data), sets, TrainingSettings())
    return TrainingSession(setup, cache, device="cpu")


@pytest.fixture
def train(write: Write) -> str:
    rows = [{"question": f"what is {n}", "answer": f"two plus three\n#### 1,{n:03d}"} for n in range(8)]
    return write("train.jsonl", "\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$1,234.50", "1234.5"),
        ("18.", "18"),
        ("-0.50", "-0.5"),
        ("1e2", "100"),
        ("5 %", "5"),
        ("a  red cat.", "a red cat."),
    ],
)
def test_numbers_have_one_spelling(text: str, wanted: str) -> None:
    assert normalise_number(text) == wanted


@given(st.integers(-(10**9), 10**9))
def test_a_number_equals_itself_with_thousands_marks_and_a_stop(number: int) -> None:
    assert normalise_number(f"${number:,}.") == normalise_number(str(number)) == normalise_number(f"{number}.00")


def test_only_the_first_match_is_compared_and_the_line_ends_it() -> None:
    assert comparable("so\n#### 1,024\nQuestion: more\n#### 7", GSM8K) == "1024"
    assert comparable("no mark", GSM8K) is None


def test_exact_match_compares_what_the_rule_extracts(
    shared_model_folder: Path, tmp_path: Path, train: str, monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    from orchestrator.training.evaluations.contract import evaluation as base

    entry = EvaluationSet("math", "exact_match", train, extract=GSM8K, max_new_tokens=12)
    session = session_of(shared_model_folder, tmp_path, train, entry)
    # What a model would say: right in other words for the first four rows, wrong or without the mark for the rest.
    said = [f"it is\n#### $1{n:03d}.0" for n in range(4)] + ["#### 3", "1004", "#### 1,005 cats", "####"]
    replies = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]
    monkeypatch.setattr(base, "generate_greedy", lambda *_, **__: replies)
    found = session.evaluate(session.base)
    assert found.values["math/exact_match"] == 0.5
    assert found.standard_errors["math/exact_match"] == pytest.approx(np.sqrt(0.25 / 7))


def test_a_reference_without_what_is_extracted_is_told(shared_model_folder: Path, tmp_path: Path, train: str) -> None:
    entry = EvaluationSet("math", "exact_match", train, extract="ANSWER (.*)")
    with pytest.raises(DataError, match="finds nothing in the reference answer"):
        _ = session_of(shared_model_folder, tmp_path, train, entry).parts


# -- instructions --------------------------------------------------------------------------------------

ROWS = [
    {"key": 1, "prompt": "what is red", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    {
        "key": 2,
        "prompt": "what is a cat",
        "instruction_id_list": ["change_case:english_lowercase", "length_constraints:number_words"],
        "kwargs": [{}, {"relation": "at least", "num_words": 30}],
    },
    {
        "key": 3,
        "prompt": "what is five",
        "instruction_id_list": ["startend:quotation"],
        "kwargs": [{"num_words": None}],
    },
]


def test_instructions_are_counted_by_prompt_and_by_rule(
    shared_model_folder: Path, tmp_path: Path, train: str, write: Write, monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    pytest.importorskip("lm_eval")
    from orchestrator.training.evaluations.contract import evaluation as base

    rows = write("ifeval.jsonl", "\n".join(json.dumps(row) for row in ROWS))
    entry = EvaluationSet("follow", "instructions", rows, max_new_tokens=8)
    session = session_of(shared_model_folder, tmp_path, train, entry)
    # No comma once the first line is gone (loose alone); lower case but too short; not in quotation marks.
    said = ["red, blue\nfive", "it is an animal that likes to sleep on the mat", "five"]
    replies = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]
    asked: list[str] = []

    def generate(model: Any, prompts: Any, *_: Any, **__: Any) -> list[list[int]]:
        asked.extend(tokenizer.decode(prompt) for prompt in prompts)
        return replies

    monkeypatch.setattr(base, "generate_greedy", generate)
    found = session.evaluate(session.base)
    assert asked[0] == "<|im_start|>user\nwhat is red<|im_end|>\n<|im_start|>assistant\n"
    values = found.values
    assert values["follow/prompt_strict"] == 0
    assert values["follow/prompt_loose"] == pytest.approx(1 / 3)
    assert (values["follow/instruction_strict"], values["follow/instruction_loose"]) == (0.25, 0.5)
    assert set(found.standard_errors) == set(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instruction_id_list": ["punctuation:no_coma"]}, "Did you mean 'punctuation:no_comma'"),
        ({"instruction_id_list": []}, "must be a list of rules"),
        ({"prompt_": "x", "prompt": None}, None),
    ],
)
def test_wrong_rows_of_instructions_are_told(
    shared_model_folder: Path, tmp_path: Path, train: str, write: Write, change: dict[str, Any], said: str | None
) -> None:
    pytest.importorskip("lm_eval")
    row = {**ROWS[0], **change}
    if said is None:
        del row["prompt"]
    entry = EvaluationSet("follow", "instructions", write("rows.jsonl", json.dumps(row)))
    with pytest.raises(DataError, match=said or "need this column"):
        _ = session_of(shared_model_folder, tmp_path, train, entry).parts


def test_instructions_without_their_package_are_one_clear_error(
    shared_model_folder: Path, tmp_path: Path, train: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.training.evaluations.contract import packages

    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _: None)
    entry = EvaluationSet("follow", "instructions", write("rows.jsonl", json.dumps(ROWS[0])))
    with pytest.raises(DataError, match=r"needs the package lm-eval.*pip install 'sft-orchestrator\[eval\]'"):
        _ = session_of(shared_model_folder, tmp_path, train, entry).parts
