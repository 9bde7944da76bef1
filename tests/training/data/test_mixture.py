"""Mixtures of named sources: exact counts, no row twice, the same rows for the same seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import (
    DataSettings,
    MixturePart,
    ModelSettings,
    Phase,
    TrainingSettings,
    TrialSetup,
)
from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.mixture import draw_rows, mixture_counts
from orchestrator.training.data.prepare import Tokens, prepare_data
from orchestrator.training.setup.inspect import inspect_setup

Write = Callable[[str, str], str]


@pytest.fixture
def tokens(tokenizer: Any) -> Tokens:
    return Tokens(tokenizer, "digest", load_template(tokenizer, "auto", "m"), 128)


def weighted(*weights: float) -> list[MixturePart]:
    return [MixturePart(str(index), "x", weight=weight) for index, weight in enumerate(weights)]


def counts_of(parts: list[MixturePart], available: list[int], limit: int | None = None) -> list[int]:
    return mixture_counts(parts, {part.name: rows for part, rows in zip(parts, available, strict=True)}, limit)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(20, 300)), min_size=1, max_size=5), st.integers(50, 900))
def test_weights_give_the_largest_mixture_without_doubling(parts: list[tuple[int, int]], limit: int) -> None:
    weights, available = [weight for weight, _ in parts], [rows for _, rows in parts]
    for most in (None, limit):
        counts = counts_of(weighted(*weights), available, most)
        total = sum(counts)
        assert all(0 < count <= rows for count, rows in zip(counts, available, strict=True))
        assert all(abs(c - total * w / sum(weights)) < 1 + 1e-6 for c, w in zip(counts, weights, strict=True))
        largest = int(min(rows * sum(weights) / weight for weight, rows in parts) + 1e-9)
        assert total == min(largest, most or largest)


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 3), st.data())
def test_draws_hold_each_row_at_most_once_and_nest(available: int, seed: int, part: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, available))
    fewer = data.draw(st.integers(0, count))
    rows = draw_rows(available, count, seed, part).tolist()
    assert rows == sorted(set(rows))
    assert len(rows) == count
    assert set(rows) <= set(range(available))
    assert set(draw_rows(available, fewer, seed, part).tolist()) <= set(rows)


def test_rows_are_drawn_as_asked_and_shrink_together() -> None:
    parts = [MixturePart("a", "x", rows=30), MixturePart("b", "y"), MixturePart("c", "z", rows=10)]
    assert counts_of(parts, [100, 60, 10]) == [30, 60, 10]
    assert counts_of(parts, [100, 60, 10], 50) == [15, 30, 5]
    with pytest.raises(DataError, match=r"mixture.2.rows.*z has 9 usable rows"):
        counts_of(parts, [100, 60, 9])
    with pytest.raises(DataError, match=r"mixture.2.*no row among the 2"):
        counts_of(parts, [100, 60, 10], 2)


def rows_of(count: int, word: str, tags: int = 0) -> str:
    return "\n".join(
        json.dumps({"question": f"what is {n}", "answer": f"{word} {n}"} | ({"tag": n % tags} if tags else {}))
        for n in range(count)
    )


def answers(tokens: Tokens, data: Any) -> list[str]:
    return [tokens.tokenizer.decode(data[row][0][data[row][1]]) for row in range(len(data))]


def test_mixture_draws_by_seed_and_its_digest_follows(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    cats, dogs = write("cat.jsonl", rows_of(60, "cat")), write("dog.jsonl", rows_of(40, "dog"))

    def prepare(weight: float = 3, seed: int = 0) -> Any:
        mixture = [MixturePart("cats", cats, weight=1), MixturePart("dogs", dogs, weight=weight)]
        return prepare_data(DataSettings(mixture=mixture, held_out=0, split_seed=seed), tokens, tmp_path / "c").train

    first = prepare()
    drawn = answers(tokens, first)
    assert (sum("cat" in text for text in drawn), sum("dog" in text for text in drawn)) == (13, 40)
    assert len(set(drawn)) == len(drawn)
    assert prepare().digest == first.digest
    assert answers(tokens, prepare(seed=1)) != drawn
    assert len({first.digest, prepare(weight=2).digest, prepare(seed=1).digest}) == 3
    write("dog.jsonl", rows_of(40, "mat"))
    assert prepare().digest != first.digest


def test_mixture_takes_sources_of_different_shapes_and_divides_by_tag(
    tokens: Tokens, write: Write, tmp_path: Path
) -> None:
    other = "\n".join(json.dumps({"ask": f"two {n}", "say": f"mat {n}", "tag": n % 2}) for n in range(10))
    mixture = [
        MixturePart("cats", write("a.jsonl", rows_of(20, "cat", tags=2)), rows=12),
        MixturePart("mats", write("b.jsonl", other), columns={"prompt": "ask", "completion": "say"}),
    ]
    phases = [Phase("even", where={"tag": 0}), Phase("odd", where={"tag": 1})]
    prepared = prepare_data(DataSettings(mixture=mixture, phases=phases, held_out=0), tokens, tmp_path / "c")
    found = answers(tokens, prepared.train)
    assert len(set(found)) == len(found) == 22
    assert sorted(row for part in prepared.train.phases.values() for row in part) == list(range(22))
    number = [int(text.split()[1].removesuffix("<|im_end|>")) for text in found]
    assert {number[row] % 2 for row in prepared.train.phases["even"]} == {0}
    assert {number[row] % 2 for row in prepared.train.phases["odd"]} == {1}


def test_inspection_reports_the_parts_of_a_mixture(model_folder: Path, write: Write, tmp_path: Path) -> None:
    mixture = [
        MixturePart("cats", write("a.jsonl", rows_of(20, "cat")), rows=12),
        MixturePart("dogs", write("b.jsonl", rows_of(9, "dog"))),
    ]
    setup = TrialSetup(
        ModelSettings(str(model_folder)), DataSettings(mixture=mixture, held_out=0), (), TrainingSettings()
    )
    report = inspect_setup(setup, tmp_path / "c", device="cpu")
    assert [(part.name, part.rows_found, part.rows) for part in report.parts] == [("cats", 20, 12), ("dogs", 9, 9)]
    assert len({part.source_digest for part in report.parts}) == 2
    assert report.train.rows == report.data.rows_kept == 21


@pytest.mark.parametrize(
    ("settings", "field", "rule"),
    [
        ({"train": "x", "mixture": [MixturePart("a", "y")]}, "train", "the mixture is the training data"),
        ({"mixture": [MixturePart("a", "y"), MixturePart("a", "z")]}, "mixture.1.name", "different names"),
        ({"mixture": [MixturePart("a", "y", weight=1, rows=3)]}, "mixture.0.rows", "not both"),
        ({"mixture": [MixturePart("a", "y", weight=1), MixturePart("b", "z")]}, "mixture.1", "needs a weight too"),
        ({"mixture": [MixturePart("a", "y")], "phases": [Phase("p", "z")]}, "mixture", "mixture must stay empty"),
    ],
)
def test_contradictory_mixtures_are_refused(
    tokens: Tokens, tmp_path: Path, settings: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(DataError, match=rule) as found:
        prepare_data(DataSettings(**settings), tokens, tmp_path / "c")
    assert found.value.field == field
