"""Data divided into phases by tags and by answer length, replay, and the strict errors of both."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings, Phase
from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.phases import by_answer_length, phase_of_rows, tag_of
from orchestrator.training.data.plans.order import SampleOrder, make_order
from orchestrator.training.data.plans.phased import phase_stages, replayed
from orchestrator.training.data.prepare import PreparedData, Tokens, prepare_data

Write = Callable[[str, str], str]
BY_TAG = [Phase("skills", where={"phase": ["skills", "extra"]}), Phase("knowledge", where={"phase": "knowledge"})]


@pytest.fixture
def tokens(tokenizer: Any) -> Tokens:
    return Tokens(tokenizer, "digest", load_template(tokenizer, "auto", "m"), 128)


def tagged_rows(tags: list[str], **more: Any) -> str:
    return "\n".join(
        json.dumps({"question": f"what is {n}", "answer": f"{tag} {n}" + " cat" * (n % 7), "phase": tag} | more)
        for n, tag in enumerate(tags)
    )


def texts(tokens: Tokens, data: Any) -> list[str]:
    return [tokens.tokenizer.decode(data[row][0]) for row in range(len(data))]


def prepare(tokens: Tokens, folder: Path, **settings: Any) -> PreparedData:
    return prepare_data(DataSettings(**settings), tokens, folder / "cache")


def test_tags_divide_one_file_and_lose_no_row(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    path = write("a.jsonl", tagged_rows(["knowledge", "skills", "extra", "knowledge"] * 10))
    whole = prepare(tokens, tmp_path, train=path, held_out=0)
    divided = prepare(tokens, tmp_path, train=path, held_out=8, phases=BY_TAG)
    assert divided.held_out is not None
    assert list(divided.train.phases) == ["skills", "knowledge"]
    rows = texts(tokens, divided.train)
    assert all("skills" in rows[row] or "extra" in rows[row] for row in divided.train.phases["skills"])
    assert all("knowledge" in rows[row] for row in divided.train.phases["knowledge"])
    assert sorted(rows + texts(tokens, divided.held_out)) == sorted(texts(tokens, whole.train))
    assert sum(len(part) for part in divided.train.phases.values()) == len(divided.train) == 32
    assert divided.train.digest != prepare(tokens, tmp_path, train=path, held_out=8).train.digest


def test_tags_are_found_inside_objects_and_json_text() -> None:
    row = {"a": {"b": {"c": 3}}, "metadata": json.dumps({"dataset": "qa"}), "x.y": "whole name"}
    assert tag_of(row, "a.b.c") == 3
    assert tag_of(row, "metadata.dataset") == "qa"
    assert tag_of(row, "x.y") == "whole name"
    assert tag_of(row, "metadata.none") is tag_of(row, "question.none") is None


def test_tags_compare_as_they_are_written() -> None:
    rows = [{"n": 1, "flag": True}, {"n": 2.0, "flag": False}, {"n": "1", "flag": True}]
    by_number = [Phase("one", where={"n": 1}), Phase("two", where={"n": 2})]
    assert phase_of_rows(rows, by_number, "x") == [0, 1, 0]
    assert phase_of_rows(rows, [Phase("no", where={"flag": False}), Phase("yes", where={"flag": True})], "x") == [
        1,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("tags", "phases", "message"),
    [
        (["knowledge", "other"], BY_TAG, r"1 of 2 rows belong to no phase: phase 'other' \(1 rows\)"),
        (
            ["skills"],
            [Phase("a", where={"phase": "skills"}), Phase("b", where={"phase": ["skills"]})],
            "row 1 to a and b",
        ),
        (["skills"], [Phase("a", where={"fase": "skills"})], "fase.*no row has this column.*Did you mean 'phase'"),
        (["skills"] * 4, BY_TAG, "knowledge.*no training row belongs to this phase"),
    ],
)
def test_tags_that_do_not_fit_say_so(
    tokens: Tokens, write: Write, tmp_path: Path, tags: list[str], phases: list[Phase], message: str
) -> None:
    path = write("a.jsonl", tagged_rows(tags))
    with pytest.raises(DataError, match=message):
        prepare(tokens, tmp_path, train=path, held_out=0, phases=phases)


def test_tag_that_is_a_list_names_its_row() -> None:
    with pytest.raises(DataError, match=r"x: row 1: phase.*must be text or a number"):
        phase_of_rows([{"phase": ["a"]}], BY_TAG, "x")


@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=60),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_answer_length_divides_exactly(lengths: list[int], weights: list[int]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    names = [str(index) for index in range(len(shares))]
    array = np.asarray(lengths, dtype=np.int64)
    try:
        parts = by_answer_length(array, names, shares)
    except DataError:
        assert min(shares) * len(lengths) <= 1
        return
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(lengths)))
    for share, rows in zip(shares, parts.values(), strict=True):
        assert abs(len(rows) - share * len(lengths)) <= 1
    for shorter, longer in itertools.pairwise(names):
        assert array[parts[shorter]].max() <= array[parts[longer]].min()


def test_answer_length_divides_what_is_not_held_out(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    path = write("a.jsonl", tagged_rows(["skills"] * 40))
    phases = [Phase("short", share=0.5), Phase("long", share=0.5, replay=0.1)]
    train = prepare(tokens, tmp_path, train=path, held_out=10, phases=phases).train
    assert [len(rows) for rows in train.phases.values()] == [15, 15]
    lengths = train.answer_lengths()
    assert lengths[train.phases["short"]].max() <= lengths[train.phases["long"]].min()
    assert train.replay == {"long": 0.1}
    plain = prepare(tokens, tmp_path, train=path, held_out=10).train
    assert texts(tokens, plain) == texts(tokens, train)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.floats(0, 1), st.integers(0, 4), st.integers(1, 150))
def test_replay_adds_rows_of_earlier_phases_alone(sizes: list[int], share: float, seed: int, samples: int) -> None:
    edges = np.cumsum([0, *sizes])
    phases = [np.arange(start, stop) for start, stop in itertools.pairwise(edges)]
    order = SampleOrder(phase_stages(phases, samples, seed, [0.0, *[share] * (len(sizes) - 1)]))
    assert len(order.slice(0, samples)) == samples
    for index, (own, pool) in enumerate(zip(phases, (stage.rows for stage in order.stages), strict=True)):
        again = pool[len(own) :]
        wanted = 0 if index == 0 or share == 0 else max(1, round(share * edges[index]))
        assert pool[: len(own)].tolist() == own.tolist()
        assert len(set(again.tolist())) == len(again) == wanted
        assert all(row < edges[index] for row in again)
    same = SampleOrder(phase_stages(phases, samples, seed, [0.0, *[share] * (len(sizes) - 1)]))
    assert np.array_equal(order.slice(0, samples), same.slice(0, samples))


def test_replay_of_nothing_changes_no_order() -> None:
    phases = [np.arange(0, 30), np.arange(30, 40)]
    plain = SampleOrder(phase_stages(phases, 80, 3)).slice(0, 80)
    assert np.array_equal(SampleOrder(phase_stages(phases, 80, 3, [0.0, 0.0])).slice(0, 80), plain)


def test_replayed_rows_are_those_of_the_seed() -> None:
    earlier = [np.arange(100), np.arange(100, 200)]
    assert replayed(earlier, 0.1, 0, 2).tolist() == replayed(earlier, 0.1, 0, 2).tolist()
    assert replayed(earlier, 0.1, 0, 2).tolist() != replayed(earlier, 0.1, 1, 2).tolist()
    with pytest.raises(ValueError, match="share from 0 to 1"):
        replayed(earlier, 1.5, 0, 2)


def test_replay_holds_under_phased_alone(tokens: Tokens, write: Write, tmp_path: Path) -> None:
    path = write("a.jsonl", tagged_rows(["skills"] * 40))
    phases = [Phase("short", share=0.5), Phase("long", share=0.5, replay=0.5)]
    train = prepare(tokens, tmp_path, train=path, held_out=0, phases=phases).train
    short = set(np.asarray(train.phases["short"]).tolist())
    phased = make_order("phased", train, 50, 0).slice(0, 50)
    assert set(phased[:20]) == short
    assert len(short & set(phased[20:].tolist())) == 10
    assert sorted(make_order("stacked", train, 40, 0).slice(0, 40).tolist()) == list(range(40))


@pytest.mark.parametrize(
    ("settings", "field", "rule"),
    [
        ({"train": "x", "phases": [Phase("a")]}, "phases.0", "this one has none of them"),
        ({"train": "x", "phases": [Phase("a", share=1.0, where={"p": "a"})]}, "phases.0", "where and share"),
        (
            {"train": "x", "phases": [Phase("a", share=0.5), Phase("b", where={"p": "a"})]},
            "phases.1.where",
            "so all must",
        ),
        ({"train": "x", "phases": [Phase("a", share=0.5), Phase("b", share=0.4)]}, "phases", "add up to 1"),
        ({"train": "x", "phases": [Phase("a", share=0.5), Phase("a", share=0.5)]}, "phases.1.name", "different names"),
        ({"train": "x", "phases": [Phase("a", share=1.0, replay=0.1)]}, "phases.0.replay", "no earlier one"),
        ({"train": "x", "phases": [Phase("a", where={"p": []})]}, "phases.0.where", "empty list"),
        ({"phases": [Phase("a", share=1.0)]}, "phases.0", "neither is given"),
        ({}, "train", "missing"),
    ],
)
def test_contradictions_are_found_before_a_source_is_opened(
    tokens: Tokens, tmp_path: Path, settings: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(DataError, match=rule) as found:
        prepare(tokens, tmp_path, **settings)
    assert found.value.field == field
    assert not (tmp_path / "cache").exists()
