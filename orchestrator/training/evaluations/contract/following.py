"""How far a greedy answer follows its reference, told by one pass over prompt and reference together.

Up to the first token that differs, greedy generation sees exactly the reference, so the model's likeliest token at
each place of it is the token that generation would choose. Most answers are right, or wrong beyond recovery, by then;
only the others need to be generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.token_rows import Ids
from orchestrator.training.evaluations.contract.evaluation import Subject
from orchestrator.training.model.protocols import Tokenizer

_INCOMPLETE = "\ufffd"
"""What a tokenizer of bytes decodes the first bytes of a character to."""


class Followed(NamedTuple):
    """The first tokens of a greedy answer, without the token that ends it, and whether they are all of it."""

    tokens: list[int]
    over: bool


def follow(reference: Sequence[int], likeliest: Sequence[int], stop_ids: frozenset[int], limit: int) -> Followed:
    """Return what is known of a greedy answer.

    Args:
        reference: Tokens of the reference.
        likeliest: The model's likeliest token at the place of each of them, given all before it.
        stop_ids: Tokens that end an answer.
        limit: Longest answer.
    """
    tokens: list[int] = []
    for wanted, chosen in zip(reference, likeliest, strict=True):
        if chosen in stop_ids or len(tokens) >= limit:
            return Followed(tokens, over=True)
        tokens.append(chosen)
        if chosen != wanted:
            break
    return Followed(tokens, over=len(tokens) >= limit)


def may_become(text: str, reference: str) -> bool:
    """Whether a text that goes on may still equal a reference, both up to white space (as `normalise_answer` has it)."""
    return reference.startswith(" ".join(text.rstrip(_INCOMPLETE).split()))


def appends(tokenizer: Tokenizer) -> bool:
    """Whether further tokens only append to the text of those before; some tokenizers also tidy up spaces."""
    return not getattr(tokenizer, "clean_up_tokenization_spaces", False)


def followed_answers(entry: PreparedSet, pairs: Sequence[tuple[Ids, list[int]]], subject: Subject) -> list[Followed]:
    """Return what one pass tells of the greedy answer to each row.

    Args:
        entry: The set.
        pairs: Tokens before the last answer of each of its rows, and those of that answer.
        subject: The model.
    """
    longest, room = entry.settings.max_new_tokens, subject.tokens.length_limit
    found = []
    for (prompt, reference), likeliest in zip(pairs, subject.likeliest_tokens(entry.data), strict=True):
        limit = longest if room is None else min(longest, room - len(prompt))
        last = likeliest[len(likeliest) - len(reference) :].tolist()
        found.append(follow(reference, last, subject.tokens.stop_ids, limit))
    return found
