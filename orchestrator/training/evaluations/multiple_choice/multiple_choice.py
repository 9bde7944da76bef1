"""``multiple_choice``: the share of questions whose right choice the model finds likeliest.

A choice's score is the summed log-likelihood of its tokens after the prompt; ``accuracy_normalised`` divides it by the
choice's length in characters (lm-eval's ``acc_norm``). The tokens that end an answer do not count, as in lm-eval.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.chat_template import puts_bos_first
from orchestrator.training.data.conversations import ASSISTANT, USER, Message
from orchestrator.training.data.prepare import PreparedSet, Tokens
from orchestrator.training.data.sources import open_source
from orchestrator.training.data.token_cache import Meta, key_of, open_or_build
from orchestrator.training.data.token_rows import TokenRow
from orchestrator.training.evaluations.contract.evaluation import (
    Scorer,
    SetScores,
    SetSources,
    Subject,
    share_with_error,
)
from orchestrator.training.evaluations.multiple_choice.rows import LETTERS, Question, read_questions

_VERSION = 1


class MultipleChoiceScorer(Scorer):
    """Log-likelihoods of choices."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """See `Scorer.prepare`; one row of tokens for each choice of each question."""
        tokens, source = sources.tokens, open_source(settings.data, sources.data.split)
        examples = open_source(settings.fewshot_data, sources.data.split) if settings.fewshot_data else None
        digests = [source.digest(), examples.digest() if examples is not None else ""]
        rules = [
            _VERSION,
            settings.choices,
            settings.prompt,
            settings.num_fewshot,
            settings.limit,
            dict(settings.columns),
        ]
        spelling = [tokens.digest, tokens.template.text, tokens.model_length, tokenizers.__version__]
        key = key_of("choices", digests, source.split, rules, sources.too_long(settings), spelling)

        def build() -> tuple[list[TokenRow], Meta]:
            shots, questions = _questions(settings, sources)
            return _rows(settings, shots, questions, tokens, sources.too_long(settings))

        stored = open_or_build(sources.cache_dir, key, build)
        return PreparedSet(settings, stored.data, stored.meta)

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        losses = _choice_losses(entry, subject)
        bounds = entry.note["bounds"]
        characters = np.asarray(entry.note["characters"], dtype=np.float64)
        raw, normalised = [], []
        for start, stop, gold in zip(bounds[:-1], bounds[1:], entry.note["gold"], strict=True):
            part = losses[start:stop]
            raw.append(int(part.argmin()) == gold)
            normalised.append(int((part / characters[start:stop]).argmin()) == gold)
        metrics = {"accuracy": share_with_error(raw)}
        if entry.settings.choices == "texts":
            metrics["accuracy_normalised"] = share_with_error(normalised)
        return SetScores(metrics)


def _choice_losses(entry: PreparedSet, subject: Subject) -> NDArray[np.float64]:
    """Return the summed loss of each choice; where choices are single tokens, one forward serves all of a question."""
    data, bounds = entry.data, entry.note["bounds"]
    firsts, words = bounds[:-1], []
    for start, stop in itertools.pairwise(bounds):
        rows = [data[row] for row in range(start, stop)]
        same = all(
            int(is_answer.sum()) == 1 and len(ids) == len(rows[0][0]) and (ids[:-1] == rows[0][0][:-1]).all()
            for ids, is_answer in rows
        )
        if not same:
            return subject.row_losses(data)[0]
        words.append([int(ids[-1]) for ids, _ in rows])
    return np.concatenate(subject.next_token_losses(data, firsts, words))


def _questions(settings: EvaluationSet, sources: SetSources) -> tuple[list[Question], list[Question]]:
    """Return the examples for the prompt and the questions to score, which are never the same rows."""
    shots = settings.num_fewshot or 0
    source = open_source(settings.data, sources.data.split)
    if not settings.fewshot_data:
        rows, numbers = source.sample()
        found = read_questions(rows, settings.columns, settings.data, numbers)
        if shots >= len(found):
            raise DataError(
                f"evaluation.{settings.name}",
                "num_fewshot",
                shots,
                f"leaves no question to score: there are {len(found)}",
                "take fewer examples, or name fewshot_data",
            )
        rest = found[shots:]
        limit = settings.limit or len(rest)
        kept = [rest[place * len(rest) // limit] for place in range(limit)] if limit < len(rest) else rest
        return found[:shots], kept
    rows, numbers = open_source(settings.fewshot_data, sources.data.split).sample(shots)
    examples = read_questions(rows, settings.columns, settings.fewshot_data, numbers)
    rows, numbers = source.sample(settings.limit)
    return examples, read_questions(rows, settings.columns, settings.data, numbers)


def _rows(
    settings: EvaluationSet, shots: Sequence[Question], questions: Sequence[Question], tokens: Tokens, too_long: str
) -> tuple[list[TokenRow], Meta]:
    rows: list[TokenRow] = []
    characters: list[int] = []
    bounds, gold, long = [0], [], 0
    for question in questions:
        pairs = prompt_pairs(settings, shots, question, tokens)
        made = [_row(*pair, tokens) for pair in pairs]
        longest = max(len(row.ids) for row in made)
        if tokens.model_length is not None and longest > tokens.model_length:
            long += 1
            made = _shortened(made, tokens.model_length, too_long, settings.name, longest)
        if made:
            rows += made
            characters += [len(choice) for choice in question.choices]
            bounds.append(len(rows))
            gold.append(question.gold)
    if not rows:
        raise DataError(
            f"evaluation.{settings.name}", "data", settings.data, "every question is longer than the model can take"
        )
    part = {"rows_found": len(questions), "rows_kept": len(gold), "rows_too_long": long, "source": settings.data}
    return rows, {"parts": [part], "bounds": bounds, "gold": gold, "characters": characters, "scored": len(gold)}


def _shortened(rows: list[TokenRow], length: int, too_long: str, name: str, longest: int) -> list[TokenRow]:
    """Apply `data.too_long`; ``truncate`` cuts the beginning, as lm-eval does, so that the choices stay whole."""
    if too_long == "error":
        raise DataError(
            f"evaluation.{name}",
            "too_long",
            rule=f"a question has {longest} tokens, the model takes {length}",
            mend="set too_long: drop or truncate, or take fewer examples (num_fewshot)",
        )
    if too_long == "drop" or any(int(row.is_answer.sum()) >= length for row in rows):
        return []
    return [TokenRow(row.ids[-length:], row.is_answer[-length:]) for row in rows]


def prompt_pairs(
    settings: EvaluationSet, shots: Sequence[Question], question: Question, tokens: Tokens
) -> list[tuple[str, str]]:
    """Return prompt and continuation of each choice of a question, as text."""
    lettered = settings.choices == "letters"
    answers = LETTERS[: len(question.choices)] if lettered else question.choices
    if settings.prompt == "plain":
        before = "".join(f"{_plain(shot, lettered)} {_answer(shot, lettered)}\n\n" for shot in shots)
        start = str(tokens.tokenizer.bos_token) if puts_bos_first(tokens.tokenizer) else ""
        return [(f"{start}{before}{_plain(question, lettered)}", f" {answer}") for answer in answers]
    turns = [
        turn
        for shot in shots
        for turn in (Message(USER, _asked(shot, lettered)), Message(ASSISTANT, _answer(shot, lettered)))
    ]
    prompt = tokens.template.prompt(tokens.tokenizer, (*turns, Message(USER, _asked(question, lettered))))
    return [(prompt, answer) for answer in answers]


def _answer(question: Question, lettered: bool) -> str:
    return LETTERS[question.gold] if lettered else question.choices[question.gold]


def _plain(question: Question, lettered: bool) -> str:
    return f"{_listed(question)}\nAnswer:" if lettered else f"Question: {question.text}\nAnswer:"


def _asked(question: Question, lettered: bool) -> str:
    if not lettered:
        return question.text
    return f"{_listed(question)}\nAnswer with the letter of the right choice."


def _listed(question: Question) -> str:
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False)]
    return "\n".join([question.text, *lines])


def _row(prompt: str, continuation: str, tokens: Tokens) -> TokenRow:
    """Encode both together and split behind the prompt's own tokens, as lm-eval does."""
    options = {"add_special_tokens": False, "verbose": False}
    stripped = prompt.rstrip(" ")
    text = prompt[len(stripped) :] + continuation
    whole = np.asarray(tokens.tokenizer(stripped + text, **options)["input_ids"], dtype=np.int32)
    start = len(tokens.tokenizer(stripped, **options)["input_ids"])
    # A choice that melts into the prompt's last token would have no token of its own.
    start = max(1, min(start, len(whole) - 1))
    return TokenRow(whole, np.arange(len(whole)) >= start)
