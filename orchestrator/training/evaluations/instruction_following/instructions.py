"""``instructions``: verifiable instructions followed (IFEval, arXiv 2311.07911), checked by lm-eval's own rules.

A prompt is followed if all its instructions are. ``strict`` checks the answer as it is; ``loose`` also without its first
or last line and without asterisks. Prompts are the sampling unit of all standard errors.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Protocol

import numpy as np
import tokenizers

from orchestrator.errors import DataError, nearest
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.training.data.conversations import USER, Message
from orchestrator.training.data.files import Row
from orchestrator.training.data.prepare import PreparedSet
from orchestrator.training.data.sources import open_source
from orchestrator.training.data.token_cache import Meta, key_of, open_or_build
from orchestrator.training.data.token_rows import TokenRow
from orchestrator.training.evaluations.contract.evaluation import (
    Metric,
    Scorer,
    SetScores,
    SetSources,
    Subject,
    ratio_with_error,
    share_with_error,
)
from orchestrator.training.evaluations.contract.packages import needed
from orchestrator.training.evaluations.contract.prompts import prompt_rows

_RULES = "lm_eval.tasks.ifeval"
_NEED_SENTENCES = frozenset({"length_constraints:number_sentences", "change_case:capital_word_frequency"})
"""Rules that count with NLTK's sentence model, which is a download of its own."""


class Verdict(Protocol):
    """What lm-eval's rules say of an answer: whether it follows each of its instructions."""

    follow_instruction_list: list[bool]


Check = Callable[[object, str], Verdict]


class InstructionScorer(Scorer):
    """Greedy answers checked by rules."""

    def prepare(self, settings: EvaluationSet, sources: SetSources) -> PreparedSet:
        """See `Scorer.prepare`; rows have ``prompt``, ``instruction_id_list`` and ``kwargs``."""
        rules = _rules(settings.name)
        tokens, source = sources.tokens, open_source(settings.data, sources.data.split)
        rows, numbers = source.sample(settings.limit)
        kept = _checked(rows, numbers, settings, rules)
        texts = [
            tokens.template.prompt(tokens.tokenizer, (Message(USER, str(rows[place]["prompt"])),)) for place in kept
        ]
        rules_of_rows = [source.digest(), kept, settings.limit, sources.too_long(settings)]
        spelling = [tokens.digest, tokens.template.text, tokens.model_length, tokenizers.__version__]

        def build() -> tuple[list[TokenRow], Meta]:
            made, places = prompt_rows(texts, tokens, settings, sources.too_long(settings))
            part = {"rows_found": len(rows), "rows_kept": len(places), "source": settings.data}
            return made, {"parts": [part], "rows": [_plain(rows[kept[place]]) for place in places]}

        stored = open_or_build(sources.cache_dir, key_of("instructions", rules_of_rows, spelling), build)
        return PreparedSet(settings, stored.data, stored.meta)

    def score(self, entry: PreparedSet, subject: Subject) -> SetScores:
        """See `Scorer.score`."""
        prompts = [entry.data[row][0] for row in range(len(entry.data))]
        answers = subject.answers(prompts, entry.settings.max_new_tokens)
        rules = _rules(entry.name)
        metrics: dict[str, Metric] = {}
        for manner, check in (
            ("strict", rules.test_instruction_following_strict),
            ("loose", rules.test_instruction_following_loose),
        ):
            followed = [
                _follows(check, rules, row, subject.text(answer))
                for row, answer in zip(entry.note["rows"], answers, strict=True)
            ]
            metrics[f"prompt_{manner}"] = share_with_error([all(each) for each in followed])
            sums = np.asarray([sum(each) for each in followed], dtype=np.float64)
            counts = np.asarray([len(each) for each in followed], dtype=np.float64)
            metrics[f"instruction_{manner}"] = ratio_with_error(sums, counts)
        return SetScores(metrics)


def _follows(check: Check, rules: ModuleType, row: Row, answer: str) -> list[bool]:
    example = rules.InputExample(0, row["instruction_id_list"], row["prompt"], row["kwargs"])
    return [bool(each) for each in check(example, answer).follow_instruction_list]


def _rules(name: str) -> ModuleType:
    """Return lm-eval's rules; what NLTK says while it looks for its files is kept off the terminal.

    Raises:
        DataError: If the package is missing.
    """
    needed(name, "lm_eval", "langdetect", "immutabledict", "nltk")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        rules = importlib.import_module(f"{_RULES}.utils")
    # Its guesses are drawn at random unless it is seeded.
    importlib.import_module("langdetect").DetectorFactory.seed = 0
    return rules


def _checked(rows: Sequence[Row], numbers: Sequence[int], settings: EvaluationSet, rules: ModuleType) -> list[int]:
    """Return the places of the rows whose rules can be checked here.

    Raises:
        DataError: If a column is missing, a rule is unknown, or one cannot be checked and rows may not be dropped.
    """
    where, columns = settings.data, list(rows[0])
    for column in ("prompt", "instruction_id_list", "kwargs"):
        if column not in columns:
            raise DataError(
                where,
                column,
                rule=f"rows of instructions need this column; the columns are {', '.join(columns)}",
                mend=nearest(column, columns) or "give rows in the shape of google/IFEval",
            )
    known = set(rules.instructions_registry.INSTRUCTION_DICT)
    kept = []
    for place, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        asked = row["instruction_id_list"]
        _check_row(row, f"{where}: row {number}", known)
        blocked = sorted(_NEED_SENTENCES.intersection(asked)) if not _has_sentences() else []
        if blocked and settings.unverifiable == "error":
            raise DataError(
                f"{where}: row {number}",
                "instruction_id_list",
                blocked[0],
                "is checked with NLTK's sentence model, which is not on this machine",
                "fetch it with 'python -m nltk.downloader punkt_tab', or set unverifiable: drop",
            )
        if not blocked:
            kept.append(place)
    if not kept:
        raise DataError(where, rule="no row is left whose instructions can be checked on this machine")
    return kept


def _check_row(row: Row, place: str, known: set[str]) -> None:
    asked, details = row["instruction_id_list"], row["kwargs"]
    if not isinstance(asked, list) or not isinstance(details, list) or not asked or len(asked) != len(details):
        raise DataError(
            place, "instruction_id_list", asked, "must be a list of rules, with an equally long list in kwargs"
        )
    for name in asked:
        if name not in known:
            raise DataError(place, "instruction_id_list", name, "is no known rule", nearest(str(name), known))


def _has_sentences() -> bool:
    nltk = importlib.import_module("nltk")
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


def _plain(row: Row) -> dict[str, object]:
    return {
        "prompt": str(row["prompt"]),
        "instruction_id_list": row["instruction_id_list"],
        "kwargs": [dict(values or {}) for values in row["kwargs"]],
    }
