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
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, Phase
from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.prepare import PreparedData, Tokens, prepare_data, prepare_set, split_rows
from orchestrator.training.data.source_rows import fit_length
from orchestrator.training.data.token_rows import TokenRow
from orchestrator.training.evaluations.contract.evaluation import SetSources
from orchestrator.training.evaluations.scorers import prepare

Write = Callable[[str, str], str]


@pytest.fixture
def tokens(tokenizer: Any) -> Tokens:
    return Tokens(tokenizer, "digest", load_template(tokenizer, "auto", "m"), 128)


def rows_of(count: int, word: str = "cat") -> str:
    return "\n".join(
        json.dumps({"question": f"what is {number}", "answer": f"{word} {number}"}) for number in range(count)
    )


def texts(tokens: Tokens, data: Any) -> list[str]:
    return [tokens.tokenizer.decode(data[row][0][data[row][1]]) for row in range(len(data))]


def test_prepare_data_splits_every_row_once(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    path = write("a.jsonl", rows_of(40))
    prepared = prepare_data(DataSettings(path, held_out=0.25), tokens, tmp_path / "c")
    assert prepared.held_out is not None
    train, held_out = texts(tokens, prepared.train), texts(tokens, prepared.held_out)
    assert len(held_out) == 10
    assert sorted(train + held_out) == sorted(f"cat {number}<|im_end|>" for number in range(40))
    again = prepare_data(DataSettings(path, held_out=0.25), tokens, tmp_path / "c")
    assert again.train.digest == prepared.train.digest
    other = prepare_data(DataSettings(path, held_out=0.25, split_seed=1), tokens, tmp_path / "c")
    assert texts(tokens, other.held_out) != held_out
    assert len([path for path in (tmp_path / "c").iterdir() if path.is_dir()]) == 1


def test_prepare_data_keeps_phases_apart(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    phases = [
        Phase("first", write("a.jsonl", rows_of(10, "cat"))),
        Phase("second", write("b.jsonl", rows_of(20, "mat"))),
    ]
    prepared = prepare_data(DataSettings(phases=phases, held_out=6), tokens, tmp_path / "c")
    found = texts(tokens, prepared.train)
    assert len(found) == 24
    first, second = prepared.train.phases["first"], prepared.train.phases["second"]
    assert (first.start, second.stop) == (0, 24)
    assert all("cat" in found[row] for row in first)
    assert all("mat" in found[row] for row in second)


def test_prepare_data_reads_held_out_rows_from_their_own_source(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    train, held = write("a.jsonl", rows_of(10)), write("b.jsonl", rows_of(4, "mat"))
    prepared = prepare_data(DataSettings(train, held_out=held), tokens, tmp_path / "c")
    assert (len(prepared.train), len(prepared.held_out or [])) == (10, 4)
    assert prepare_data(DataSettings(train, held_out=0), tokens, tmp_path / "c").held_out is None


def test_prepare_data_follows_limit_and_changed_content(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    path = write("a.jsonl", rows_of(10))
    settings = DataSettings(path, held_out=0, limit=3)
    before = prepare_data(settings, tokens, tmp_path / "c").train
    assert len(before) == 3
    write("a.jsonl", rows_of(10, "dog"))
    assert prepare_data(settings, tokens, tmp_path / "c").train.digest != before.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 1.5}, "must be a share from 0 to 1 or a whole number"),
        ({"held_out": -1}, "must be a share"),
        ({"held_out": 10}, "leaves no row to train on: there are 10"),
        ({"max_length": 400}, "at most 128 tokens"),
        ({"max_length": 9}, r"10 of 10 rows are longer than 9 tokens, the longest has \d+. Set data.too_long"),
        ({"max_length": 9, "too_long": "drop"}, "no row is left"),
        ({"phases": [Phase("a", "x")]}, "train must stay empty"),
    ],
)
def test_prepare_data_names_what_is_wrong(
    tokens: Tokens, write: Write, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = write("a.jsonl", rows_of(10))
    with pytest.raises(DataError, match=message):
        prepare_data(DataSettings(path, **options), tokens, tmp_path / "c")


def test_fit_length_truncates_but_keeps_an_answer_token() -> None:
    ids = np.arange(10, dtype=np.int32)
    early, late = TokenRow(ids, ids >= 4), TokenRow(ids, ids >= 8)
    kept, long = fit_length([early, late], 6, "truncate", "d")
    assert long == 2
    assert len(kept) == 1
    assert kept[0].is_answer.tolist() == [False] * 4 + [True] * 2
    assert fit_length([early, TokenRow(ids[:3], ids[:3] > 0)], 6, "drop", "d")[1] == 1
    assert len(fit_length([early, late], None, "error", "d")[0]) == 2


@given(st.integers(2, 300), st.floats(0.01, 0.9), st.integers(0, 5))
def test_split_rows_is_a_partition(count: int, share: float, seed: int) -> None:
    train, held_out = split_rows(count, share, seed)
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(count))
    assert abs(len(held_out) - count * share) <= 1
    assert (np.diff(train) > 0).all()


def test_prepare_set_takes_held_out_rows_own_sources_and_texts(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    settings = DataSettings(write("a.jsonl", rows_of(20)), held_out=8)
    prepared = prepare_data(settings, tokens, tmp_path / "c")

    def make(entry: EvaluationSet) -> Any:
        return prepare_set(entry, settings, prepared, tokens, tmp_path / "c").data

    assert len(make(EvaluationSet("e"))) == 8
    assert texts(tokens, make(EvaluationSet("e", limit=4))) == texts(tokens, prepared.held_out)[::2]
    asked = write("b.csv", "ask,reply\nred,blue\ngood,day\n")
    own = EvaluationSet("e", data=asked, columns={"prompt": "ask", "completion": "reply"}, limit=1)
    assert texts(tokens, make(own)) == ["blue<|im_end|>"]
    text = write("t.txt", "the cat sat on a mat " * 200)
    sources = SetSources(settings, prepared, tokens, tmp_path / "c")
    pieces = prepare(EvaluationSet("t", "text_loss", text, limit=3), sources).data
    assert pieces.lengths.tolist() == [128] * 3
    assert not pieces[0][1][0]
    assert pieces[0][1][1:].all()


def test_prepare_set_names_what_is_wrong(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    settings = DataSettings(write("a.jsonl", rows_of(20)), held_out=0)
    prepared: PreparedData = prepare_data(settings, tokens, tmp_path / "c")
    with pytest.raises(DataError, match=r"evaluation.e: data: reads the held-out rows, but data.held_out is 0"):
        prepare_set(EvaluationSet("e"), settings, prepared, tokens, tmp_path / "c")
    with pytest.raises(DataError, match="text_loss reads plain text"):
        prepare(EvaluationSet("e", "text_loss"), SetSources(settings, prepared, tokens, tmp_path / "c"))
