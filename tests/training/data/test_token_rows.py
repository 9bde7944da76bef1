from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.conversations import Message
from orchestrator.training.data.token_rows import answer_mask, text_pieces, tokenise_conversations


class SlowTokenizer:
    """A tokenizer without offsets, as those written in Python are."""

    is_fast = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, text: str, **options: Any) -> Any:
        return self._inner(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def random_conversations(rng: np.random.Generator, count: int) -> list[tuple[Message, ...]]:
    pieces = ["the cat ", "is", " two", "\n", "é日", "  ", "five.", " hello", "123", "<"]

    def text() -> str:
        return "x" + "".join(rng.choice(pieces, size=rng.integers(1, 9)))

    return [
        tuple(
            Message(role, text(), role == "assistant")
            for _ in range(rng.integers(1, 4))
            for role in ("user", "assistant")
        )
        for _ in range(count)
    ]


def test_tokens_without_offsets_agree_with_tokens_with_offsets(tokenizer: Any) -> None:
    conversations = random_conversations(np.random.default_rng(0), 40)
    template = load_template(tokenizer, "auto", "m")
    numbers = list(range(1, 41))
    fast = list(tokenise_conversations(conversations, numbers, tokenizer, template, "d"))
    slow = list(tokenise_conversations(conversations, numbers, SlowTokenizer(tokenizer), template, "d"))
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.is_answer, other.is_answer)


def test_learned_tokens_decode_to_exactly_the_answers(tokenizer: Any) -> None:
    conversations = random_conversations(np.random.default_rng(1), 60)
    template = load_template(tokenizer, "auto", "m")
    done: list[tuple[int, int]] = []
    rows = tokenise_conversations(
        conversations, list(range(60)), tokenizer, template, "d", lambda a, b: done.append((a, b))
    )
    for conversation, row in zip(conversations, rows, strict=True):
        answers = "".join(f"{m.content}<|im_end|>" for m in conversation if m.is_learned)
        assert tokenizer.decode(row.ids[row.is_answer]) == answers
        assert row.ids.dtype == np.int32
    assert done[-1] == (60, 60)


@settings(max_examples=200, deadline=None)
@given(
    widths=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 60), min_size=2, max_size=4),
)
def test_answer_mask_holds_exactly_the_tokens_that_share_characters(widths: list[int], cuts: list[int]) -> None:
    ends = np.cumsum(widths)
    offsets = [(int(end - width), int(end)) for end, width in zip(ends, widths, strict=True)]
    bounds = sorted(set(cuts))
    spans = list(zip(bounds[::2], bounds[1::2], strict=False))
    mask = answer_mask(spans, offsets, len(offsets))
    for place, (start, end) in enumerate(offsets):
        shares = any(start < stop and end > begin for begin, stop in spans)
        assert mask[place] == (shares and place > 0)


def test_text_pieces_cut_documents_and_stop_at_the_limit(tokenizer: Any) -> None:
    documents = ["the cat sat on a mat " * 10, "red", "hello world"]
    pieces = list(text_pieces(documents, tokenizer, 16, None))
    assert max(len(piece) for piece in pieces) == 16
    assert min(len(piece) for piece in pieces) >= 2
    assert tokenizer.decode(np.concatenate(pieces[:-2])) in documents[0]
    assert len(list(text_pieces(documents, tokenizer, 16, 2))) == 2
    assert len(list(text_pieces(documents, tokenizer, None, None))) <= 3


def test_text_pieces_begin_as_the_tokenizer_begins_texts() -> None:
    from tokenizers import processors

    from tests.worlds.tiny_models import build_tokenizer

    bare = build_tokenizer(bos_token="<|im_start|>")
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", bare.bos_token_id)]
    )
    pieces = list(text_pieces(["the cat sat on a mat " * 10], bare, 8, None))
    assert all(piece[0] == bare.bos_token_id and len(piece) <= 8 for piece in pieces)
