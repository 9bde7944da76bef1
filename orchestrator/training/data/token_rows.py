"""Conversations and texts as token ids, with the tokens that are learned marked.

A conversation's rendering is tokenised once and as a whole, in training and in evaluation alike; the
spans of the answers are mapped to tokens. A token that straddles the start of an answer belongs to the
answer, and a prompt for generation ends before it.
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.training.data.chat_template import ChatTemplate, Span, TemplateFault, puts_bos_first
from orchestrator.training.data.conversations import Conversation
from orchestrator.training.model.protocols import Tokenizer

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]
"""Called with rows done and rows in all."""

_BATCH = 256


@dataclass(frozen=True)
class TokenRow:
    """Token ids ``int32 [T]`` and which of them are learned ``bool [T]`` (never the first)."""

    ids: Ids
    is_answer: Mask


def tokenise_conversations(
    conversations: Sequence[Conversation],
    row_numbers: Sequence[int],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    where: str,
    progress: Progress | None = None,
) -> Iterator[TokenRow]:
    """Yield one `TokenRow` per conversation, in order.

    Args:
        conversations: What to tokenise.
        row_numbers: Row number of each, for messages.
        tokenizer: The tokenizer.
        template: Its chat template.
        where: The source, for messages.
        progress: Told after each batch.

    Raises:
        DataError: If the template refuses a row or its answers cannot be located.
    """
    for start in range(0, len(conversations), _BATCH):
        batch = conversations[start : start + _BATCH]
        texts, spans = _render_batch(batch, row_numbers[start : start + _BATCH], tokenizer, template, where)
        yield from _tokenise_batch(texts, spans, tokenizer)
        if progress is not None:
            progress(min(start + _BATCH, len(conversations)), len(conversations))


def text_pieces(
    documents: Iterable[str], tokenizer: Tokenizer, max_length: int | None, limit: int | None
) -> Iterator[Ids]:
    """Cut documents into pieces of at most ``max_length`` tokens, at least two each, ``limit`` in all.

    Every piece begins with the begin-of-sequence token where the tokenizer puts it before texts.

    Yields:
        Token ids ``int32 [T]``.
    """
    prefix = [tokenizer.bos_token_id] if puts_bos_first(tokenizer) else []
    made = 0
    for document in documents:
        ids = tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        room = (max_length or len(ids) + len(prefix)) - len(prefix)
        for start in range(0, len(ids), max(1, room)):
            piece = np.asarray(prefix + ids[start : start + room], dtype=np.int32)
            if len(piece) < 2:
                continue
            if limit is not None and made >= limit:
                return
            made += 1
            yield piece


def answer_mask(spans: Sequence[Span], offsets: Sequence[Span], length: int) -> Mask:
    """Return which tokens hold characters of an answer, bool ``[length]``; never the first token.

    Args:
        spans: Answers, in characters.
        offsets: Characters of each token, in order; tokens of spaces may be empty at their end (byte-level
            tokenizers trim them).
        length: Number of tokens.
    """
    mask = np.zeros(length, dtype=np.bool_)
    for start, stop in spans:
        first = bisect.bisect_right(offsets, start, key=_end)
        mask[first : bisect.bisect_left(offsets, stop, lo=first, key=_start)] = True
    mask[:1] = False
    return mask


_start, _end = operator.itemgetter(0), operator.itemgetter(1)


def _render_batch(
    batch: Sequence[Conversation], numbers: Sequence[int], tokenizer: Tokenizer, template: ChatTemplate, where: str
) -> tuple[list[str], list[list[Span]]]:
    texts, spans = [], []
    for number, conversation in zip(numbers, batch, strict=True):
        try:
            text = template.render(tokenizer, [conversation])[0]
            spans.append(template.answer_spans(tokenizer, conversation, text))
        except TemplateFault as error:
            rule = f"does not fit the chat template ({template.origin}): {error}"
            mend = "use model.chat_template: default, or change the row"
            raise DataError(f"{where}: row {number}", rule=rule, mend=mend) from error
        texts.append(text)
    return texts, spans


def _tokenise_batch(texts: Sequence[str], spans: Sequence[list[Span]], tokenizer: Tokenizer) -> Iterator[TokenRow]:
    # verbose=False: rows longer than the model are judged by our own rule, not by a warning.
    if tokenizer.is_fast:
        encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False, return_offsets_mapping=True)
        for ids, offsets, row_spans in zip(encoded["input_ids"], encoded["offset_mapping"], spans, strict=True):
            yield TokenRow(np.asarray(ids, dtype=np.int32), answer_mask(row_spans, offsets, len(ids)))
        return
    for text, row_spans in zip(texts, spans, strict=True):
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        bounds = [tuple(_tokens_before(text[:place], ids, tokenizer) for place in span) for span in row_spans]
        mask = np.zeros(len(ids), dtype=np.bool_)
        for start, stop in bounds:
            mask[max(1, start) : stop] = True
        yield TokenRow(np.asarray(ids, dtype=np.int32), mask)


def _tokens_before(prefix: str, ids: Sequence[int], tokenizer: Tokenizer) -> int:
    """Return how many of ``ids`` the text before a place has in common with the whole text."""
    before = tokenizer(prefix, add_special_tokens=False, verbose=False)["input_ids"]
    pairs = enumerate(zip(before, ids, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(before), len(ids)))
