"""Exact match by one pass over the reference equals exact match by generation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.token_rows import TokenRow
from orchestrator.training.evaluations.contract.evaluation import as_data
from orchestrator.training.evaluations.contract.following import follow, followed_answers, may_become
from orchestrator.training.evaluations.contract.generation import GreedySettings, generate_greedy
from orchestrator.training.evaluations.exact_match import exact_match
from orchestrator.training.evaluations.exact_match.exact_match import normalise_answer, split_answers
from orchestrator.training.evaluations.scoring.evaluator import AnswerTokens, Evaluator

STOPS = frozenset({1, 3})
words = st.lists(st.integers(1, 6), max_size=8)


@given(answer=words, reference=words, other=st.integers(1, 6), limit=st.integers(1, 8))
def test_what_is_followed_is_the_beginning_of_the_greedy_answer(
    answer: list[int], reference: list[int], other: int, limit: int
) -> None:
    """A model that wants to say `answer`, and `other` where it is led elsewhere."""
    likeliest = [
        (answer[place] if place < len(answer) else 3) if reference[:place] == answer[:place] else other
        for place in range(len(reference))
    ]
    greedy = answer[:limit]
    stop = next((place for place, token in enumerate(greedy) if token in STOPS), len(greedy))
    found = follow(reference, likeliest, STOPS, limit)
    assert found.tokens == greedy[:stop][: len(found.tokens)]
    if found.over:
        assert found.tokens == greedy[:stop]


@given(st.text(alphabet="ab \n"), st.text(alphabet="ab \n"))
def test_a_text_may_become_whatever_it_is_the_beginning_of(begun: str, more: str) -> None:
    assert may_become(begun, normalise_answer(begun + more))


def test_half_a_character_may_become_any() -> None:
    assert may_become("caf\ufffd", "café")
    assert not may_become("cat", "café")


def references_for(model: Any, length_limit: int, longest: int) -> list[TokenRow]:
    """Rows whose reference is the greedy answer, its beginning, one token longer, or off from the second token on."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(5, 340, size=n).astype(np.int32) for n in rng.integers(3, 20, size=40)]
    greedy = generate_greedy(model, prompts, GreedySettings(STOPS, 0, longest, length_limit))
    rows = []
    for number, (prompt, answer) in enumerate(zip(prompts, greedy, strict=True)):
        changed = ([*answer, 3], [*answer[:2], 3], [*answer, 7, 3], [*answer[:1], 9, *answer[2:], 3], answer or [5])
        reference = np.asarray(changed[number % 5], dtype=np.int32)
        ids = np.concatenate([prompt, reference])
        rows.append(TokenRow(ids, np.arange(len(ids)) >= len(prompt)))
    return rows


@pytest.mark.parametrize("length_limit", [128, 16])
def test_the_same_rows_are_right_as_by_generation(
    model: Any, tokenizer: Any, length_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = PreparedSet(
        EvaluationSet("m", "exact_match", max_new_tokens=6), as_data(references_for(model, length_limit, 6)), {}
    )
    tokens = AnswerTokens(tokenizer, 0, STOPS, length_limit)
    evaluator = Evaluator([entry], tokens)
    subject = evaluator._subject(model, None, None)
    pairs = split_answers(entry)
    texts = [normalise_answer(subject.text(reference)) for _, reference in pairs]
    quick = [normalise_answer(text) for text in exact_match._greedy_texts(entry, pairs, texts, subject)]
    known = followed_answers(entry, pairs, subject)
    monkeypatch.setattr(exact_match, "appends", lambda _: False)
    slow = [normalise_answer(text) for text in exact_match._greedy_texts(entry, pairs, texts, subject)]
    hits = [said == wanted for said, wanted in zip(quick, texts, strict=True)]
    assert hits == [said == wanted for said, wanted in zip(slow, texts, strict=True)]
    assert 0 < sum(hits) < len(hits)
    # The pass alone decides some rows of each sort.
    assert {hit for hit, (_, over) in zip(hits, known, strict=True) if over} == {True, False}


def test_no_answer_is_cut_by_a_longer_prompt_beside_it(model: Any) -> None:
    prompts = [np.arange(5, 5 + size).astype(np.int32) for size in (14, 12, 12, 3)]
    together = generate_greedy(model, prompts, GreedySettings(frozenset(), 0, 6, 16))
    assert [len(answer) for answer in together] == [2, 4, 4, 6]
