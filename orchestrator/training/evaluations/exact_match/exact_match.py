"""``exact_match``: the share of greedy answers that equal the reference, whole or what a rule extracts of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import numpy as np

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.token_rows import Ids, Mask
from orchestrator.training.evaluations.contract.evaluation import (
    Scorer,
    SetScores,
    SetSources,
    Subject,
    share_with_error,
)
from orchestrator.training.evaluations.contract.following import Followed, appends, followed_answers, may_become

_DECORATION = re.compile(r"[\s,$€£%]")


class ExactMatchScorer(Scorer):
    """Greedy answers against references."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """See `Scorer.prepare`; every reference must hold what is extracted."""
        entry = super().prepare(settings, sources)
        if settings.extract:
            tokenizer = sources.tokens.tokenizer
            for row, (_, reference) in enumerate(split_answers(entry), start=1):
                text = tokenizer.decode(reference, skip_special_tokens=True)
                if extracted(text, settings.extract) is None:
                    raise DataError(
                        f"evaluation.{settings.name}: row {row}",
                        "extract",
                        settings.extract,
                        f"finds nothing in the reference answer {text[-60:]!r}",
                        "change the pattern so that every reference holds it",
                    )
        return entry

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        pairs, extract = split_answers(entry), entry.settings.extract
        references = [comparable(subject.text(reference), extract) for _, reference in pairs]
        given = [comparable(text, extract) for text in _greedy_texts(entry, pairs, references, subject)]
        hits = [answer is not None and answer == wanted for answer, wanted in zip(given, references, strict=True)]
        return SetScores({"exact_match": share_with_error(hits)})


def _greedy_texts(
    entry: PreparedSet, pairs: Sequence[tuple[Ids, list[int]]], references: Sequence[str | None], subject: Subject
) -> list[str]:
    """Return the greedy answer to each row; of one that can no longer equal its reference, perhaps only the beginning."""
    # A rule may find the right answer on any path, so where there is one the reference's path tells nothing.
    direct = not entry.settings.extract and appends(subject.tokens.tokenizer)
    known = followed_answers(entry, pairs, subject) if direct else [Followed([], over=False)] * len(pairs)
    texts = [subject.text(tokens) for tokens, _ in known]
    going_on = [
        row
        for row, (text, reference) in enumerate(zip(texts, references, strict=True))
        if not known[row].over and (not direct or may_become(text, reference or ""))
    ]
    answers = subject.answers([pairs[row][0] for row in going_on], entry.settings.max_new_tokens)
    for row, answer in zip(going_on, answers, strict=True):
        texts[row] = subject.text(answer)
    return texts


def split_answers(entry: PreparedSet) -> list[tuple[Ids, list[int]]]:
    """Return the tokens before the last answer of each row, and those of that answer."""
    pairs = []
    for row in range(len(entry.data)):
        ids, is_answer = entry.data[row]
        start, stop = last_answer(is_answer)
        pairs.append((ids[:start], ids[start:stop].tolist()))
    return pairs


def comparable(text: str, extract: str) -> str | None:
    """Return what of an answer is compared; None where the rule finds nothing in it."""
    if not extract:
        return normalise_answer(text)
    found = extracted(text, extract)
    return None if found is None else normalise_number(found)


def extracted(text: str, pattern: str) -> str | None:
    """Return the first group of the first match, None without a match."""
    match = re.search(pattern, text)
    return None if match is None else match.group(1)


def normalise_answer(text: str) -> str:
    """Strip an answer and make every run of white space one space; case counts."""
    return " ".join(text.split())


def normalise_number(text: str) -> str:
    """Return numbers in one spelling (``$1,234.50`` is ``1234.5``), and any other text as `normalise_answer` does."""
    bare = _DECORATION.sub("", text).rstrip(".")
    try:
        value = Decimal(bare)
    except InvalidOperation:
        return normalise_answer(text)
    return f"{value.normalize():f}" if value.is_finite() else normalise_answer(text)


def last_answer(is_answer: Mask) -> tuple[int, int]:
    """Return start and end (exclusive) of the last run of learned tokens."""
    places = np.flatnonzero(is_answer)
    stop = int(places[-1]) + 1
    before = np.flatnonzero(~is_answer[:stop])
    return (int(before[-1]) + 1 if len(before) else 0), stop
