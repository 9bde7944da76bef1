from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import DataError
from orchestrator.training.data.conversations import Message
from orchestrator.training.data.formats import convert_rows

USER, ASSISTANT = Message("user", "q"), Message("assistant", "a", True)


def convert(rows: list[dict[str, Any]], shape: str = "auto", missing: str = "error", **columns: str) -> Any:
    return convert_rows(rows, shape, columns, missing, "data.jsonl")


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "messages"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "sharegpt"),
        ({"prompt": "q", "completion": "a"}, "prompt_completion"),
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca"),
        ({"instruction": "q", "context": None, "response": "a", "category": "x"}, "alpaca"),
        ({"question": "q", "answer": "a"}, "question_answer"),
    ],
)
def test_convert_rows_detects_every_shape(row: dict[str, Any], shape: str) -> None:
    converted = convert([row])
    assert converted.shape == shape
    assert converted.conversations == [(USER, ASSISTANT)]


def test_convert_rows_joins_alpaca_instruction_and_input() -> None:
    converted = convert([{"instruction": "Add.", "input": "1 and 2", "output": "3", "system": "Be brief."}])
    roles = [(message.role, message.content) for message in converted.conversations[0]]
    assert roles == [("system", "Be brief."), ("user", "Add.\n\n1 and 2"), ("assistant", "3")]


def test_convert_rows_follows_mapped_columns_and_lists_unused_ones() -> None:
    rows = [{"text": "q", "category": "a", "id": 3}]
    converted = convert(rows, prompt="text", completion="category")
    assert converted.conversations == [(USER, ASSISTANT)]
    assert converted.unused_columns == ("id",)


def test_convert_rows_writes_numbers_out_and_takes_nan_as_missing() -> None:
    rows = [{"question": 2, "answer": 4.5}, {"question": "x", "answer": float("nan")}, {"question": "y", "answer": 0}]
    converted = convert(rows, missing="drop")
    assert [c[-1].content for c in converted.conversations] == ["4.5", "0"]
    assert converted.missing == (2,)
    assert converted.row_numbers == [1, 3]


def test_convert_rows_counts_and_lists_rows_without_an_answer() -> None:
    rows = [{"question": "x", "answer": "" if number % 2 else "a"} for number in range(16)]
    with pytest.raises(DataError, match=r"8 of 16 rows have no prompt or no answer \(rows 2, 4, 6, 8, 10, \.\.\.\)"):
        convert(rows)
    assert len(convert(rows, missing="drop").conversations) == 8
    with pytest.raises(DataError, match="none of the 1 rows"):
        convert(rows[1:2], missing="drop")


def test_convert_rows_cuts_turns_after_the_last_answer_and_honours_weights() -> None:
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "no", "weight": 0},
        {"role": "user", "content": [{"type": "text", "text": "again"}]},
        {"role": "assistant", "content": [{"type": "text", "value": "a"}], "loss_weight": 1.0},
        {"role": "user", "content": "thanks"},
    ]
    (conversation,) = convert([{"messages": turns}]).conversations
    assert [message.content for message in conversation] == ["q", "no", "again", "a"]
    assert [message.is_learned for message in conversation] == [False, False, False, True]


def test_convert_rows_learns_only_the_completion_of_conversational_prompts() -> None:
    prompt = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    row = {"prompt": prompt, "completion": [{"role": "assistant", "content": "a"}]}
    (conversation,) = convert([row]).conversations
    assert [message.is_learned for message in conversation] == [False, False, False, True]


def test_convert_rows_knows_tool_turns() -> None:
    turns = [("human", "q"), ("function_call", "{}"), ("observation", "1"), ("gpt", "a")]
    row = {"conversations": [{"from": role, "value": text} for role, text in turns]}
    (conversation,) = convert([row]).conversations
    assert [message.role for message in conversation] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [{"text": "x", "label": "y"}],
            {},
            r"no known shape fits the columns 'text', 'label'.*prompt: text, completion: label",
        ),
        ([{"question": "x", "anwser": "y"}], {}, r"columns: \{answer: anwser\}"),
        ([{"prompt": "x", "reply": "y"}], {"completion": "replay"}, r"completion = 'replay'.*Did you mean 'reply'"),
        ([{"prompt": "x", "reply": "y"}], {"complete": "reply"}, r"is no role.*Did you mean 'completion'"),
        (
            [{"q": "x", "answers": "y"}],
            {"shape": "question_answer"},
            r"needs a column for question and answer.*answers",
        ),
        ([{"prompt": {"a": 1}, "completion": "y"}], {}, r"row 1: prompt = .*must be text or a number, not dict"),
        ([{"messages": "hello"}], {}, "must be a list of messages, not str"),
        ([{"messages": [{"role": "usr", "content": "x"}]}], {}, r"messages\[0\].role = 'usr'.*Did you mean 'user'"),
        ([{"messages": [{"content": "x"}]}], {}, "a message needs a role"),
        ([{"messages": ["x"]}], {}, "must be an object with a role"),
        ([{"messages": [{"role": "assistant", "content": "x", "weight": 0.5}]}], {}, "must be 0 or 1"),
        (
            [{"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]}],
            {},
            "only text parts are known",
        ),
    ],
)
def test_convert_rows_names_what_is_wrong(rows: list[dict[str, Any]], options: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        convert(rows, **options)
