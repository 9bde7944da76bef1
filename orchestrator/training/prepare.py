"""The data of a sweep, ready for trials: tokenised training rows, held-out rows and evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.settings import DataSettings, EvaluationSet
from orchestrator.training.formats import convert_rows
from orchestrator.training.sources import Source, load_texts, open_source, spread
from orchestrator.training.templates import ChatTemplate
from orchestrator.training.token_rows import Progress, TokenRow, text_pieces, tokenise_conversations
from orchestrator.training.tokenise import Meta, Stored, TokenisedData, key_of, open_or_build

_LISTED = 20


@dataclass(frozen=True)
class Tokens:
    """What turns text into tokens.

    Attributes:
        tokenizer: The tokenizer.
        digest: Digest of the tokenizer.
        template: Its chat template.
        model_length: Longest sequence the model can take; None when it names no limit.
    """

    tokenizer: Any
    digest: str
    template: ChatTemplate
    model_length: int | None

    def max_length(self, data: DataSettings) -> int | None:
        """Return the longest sequence to train on.

        Raises:
            DataError: If the settings ask for more than the model can take.
        """
        if data.max_length is not None and self.model_length is not None and data.max_length > self.model_length:
            rule = f"the model takes sequences of at most {self.model_length} tokens"
            raise DataError("data", "max_length", data.max_length, rule, f"set it to at most {self.model_length}")
        return data.max_length or self.model_length


@dataclass(frozen=True)
class PreparedData:
    """Training and held-out rows, and the notes taken when they were read (source -> note)."""

    train: TokenisedData
    held_out: TokenisedData | None
    notes: Mapping[str, Meta]


@dataclass(frozen=True)
class PreparedSet:
    """One evaluation set with its rows."""

    settings: EvaluationSet
    data: TokenisedData
    note: Meta

    @property
    def name(self) -> str:
        """Name of the set, the first part of its metrics."""
        return self.settings.name


def prepare_data(data: DataSettings, tokens: Tokens, cache_dir: Path, progress: Progress | None = None) -> PreparedData:
    """Read, tokenise and split the training data, or open what an earlier call left in the cache.

    Raises:
        DataError: If anything about the data is wrong.
    """
    if data.phases and data.train:
        rule = "phases together are the training data, so data.train must be empty"
        raise DataError("data", "train", data.train, rule, "move it into data.phases, or remove one of the two")
    names = [phase.name for phase in data.phases]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise DataError("data", "phases", doubled[0], "phases need different names")
    sources = [open_source(phase.train, data.split) for phase in data.phases] or [open_source(data.train, data.split)]
    stored = _rows(sources, names, data, data.format, data.columns, data.limit, tokens, cache_dir, progress)
    notes = {"train": stored.meta}
    if isinstance(data.held_out, str):
        source = open_source(data.held_out, data.split)
        held = _rows([source], [], data, data.format, data.columns, None, tokens, cache_dir, progress)
        return PreparedData(stored.data, held.data, notes | {"held_out": held.meta})
    train, held_out = split_rows(len(stored.data), data.held_out, data.split_seed)
    if len(held_out) == 0:
        return PreparedData(stored.data, None, notes)
    return PreparedData(stored.data.select(train), stored.data.select(held_out), notes)


def prepare_set(
    settings: EvaluationSet, data: DataSettings, prepared: PreparedData, tokens: Tokens, cache_dir: Path
) -> PreparedSet:
    """Return an evaluation set with its rows tokenised.

    Raises:
        DataError: If its source is wrong, or it asks for held-out rows and there are none.
    """
    if settings.kind == "text_loss":
        stored = _texts(settings, data, tokens, cache_dir)
        return PreparedSet(settings, stored.data, stored.meta)
    if settings.data == "held_out":
        if prepared.held_out is None:
            rule = "reads the held-out rows, but data.held_out is 0"
            raise DataError(
                f"evaluation.{settings.name}", "data", rule=rule, mend="give data.held_out a share or a count"
            )
        rows = np.asarray(spread(len(prepared.held_out), settings.limit), dtype=np.int64)
        note = prepared.notes.get("held_out", prepared.notes["train"])
        return PreparedSet(settings, prepared.held_out.select(rows), note)
    source = open_source(settings.data, data.split)
    stored = _rows([source], [], data, settings.format, settings.columns, settings.limit, tokens, cache_dir, None)
    return PreparedSet(settings, stored.data, stored.meta)


def split_rows(count: int, held_out: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split row numbers into training and held-out rows, both increasing.

    Args:
        count: Number of rows.
        held_out: A share below 1, a whole count from 1, or 0 for none.
        seed: Seed of the split; the same seed, count and amount give the same split.

    Raises:
        DataError: If the amount is negative, not whole, or leaves nothing to train on.
    """
    if held_out < 0 or (held_out >= 1 and held_out != int(held_out)):
        raise DataError("data", "held_out", held_out, "must be a share from 0 to 1 or a whole number of rows")
    amount = int(held_out)
    if 0 < held_out < 1:
        # A share of a few rows still leaves one row on either side.
        amount = max(1, min(round(count * held_out), count - 1))
    if amount >= count:
        rule = f"leaves no row to train on: there are {count}"
        raise DataError("data", "held_out", held_out, rule, "give more data, or hold out fewer rows")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed])))
    shuffled = generator.permutation(count).astype(np.int64)
    return np.sort(shuffled[amount:]), np.sort(shuffled[:amount])


def _rows(
    sources: Sequence[Source],
    phases: Sequence[str],
    data: DataSettings,
    shape: str,
    columns: Mapping[str, str],
    limit: int | None,
    tokens: Tokens,
    cache_dir: Path,
    progress: Progress | None,
) -> Stored:
    """Return the rows of sources end to end; ``limit`` holds for each source."""
    max_length = tokens.max_length(data)
    digests = [source.digest() for source in sources]
    rules = [shape, dict(columns), limit, data.missing_answer, data.too_long, max_length]
    spelling = [tokens.digest, tokens.template.text, tokens.template.appends_end, tokenizers.__version__]
    key = key_of("rows", digests, list(phases), [source.split for source in sources], rules, spelling)

    def build() -> tuple[list[TokenRow], Meta]:
        rows: list[TokenRow] = []
        meta: Meta = {"parts": [], "phases": []}
        for place, (source, digest) in enumerate(zip(sources, digests, strict=True)):
            start = len(rows)
            kept, note = _convert(source, data, shape, columns, limit, tokens, max_length, progress)
            rows.extend(kept)
            meta["parts"].append(note | {"source": source.reference, "source_digest": digest})
            if phases:
                meta["phases"].append([phases[place], start, len(rows)])
        return rows, meta

    return open_or_build(cache_dir, key, build)


def _convert(
    source: Source,
    data: DataSettings,
    shape: str,
    columns: Mapping[str, str],
    limit: int | None,
    tokens: Tokens,
    max_length: int | None,
    progress: Progress | None,
) -> tuple[list[TokenRow], Meta]:
    where = source.reference
    rows, numbers = source.sample(limit)
    converted = convert_rows(rows, shape, columns, data.missing_answer, where, numbers)
    made = tokenise_conversations(
        converted.conversations, converted.row_numbers, tokens.tokenizer, tokens.template, where, progress
    )
    kept, too_long = fit_length(list(made), max_length, data.too_long, where)
    if not kept:
        raise DataError(where, rule=f"no row is left: all {len(rows)} are dropped", mend="raise data.max_length")
    note: Meta = {
        "rows_found": len(rows),
        "rows_kept": len(kept),
        "format": converted.shape,
        "columns": converted.columns,
        "unused_columns": list(converted.unused_columns),
        "rows_without_answer": len(converted.missing),
        "first_rows_without_answer": list(converted.missing[:_LISTED]),
        "rows_too_long": too_long,
    }
    return kept, note


def fit_length(
    rows: Sequence[TokenRow], max_length: int | None, too_long: str, where: str
) -> tuple[list[TokenRow], int]:
    """Apply the rule for rows longer than ``max_length`` tokens.

    Returns:
        The rows that stay (cut at the end under ``truncate``; a row that would keep no answer token is
        dropped), and how many were too long.

    Raises:
        DataError: Under ``error``, if any row is too long.
    """
    if max_length is None:
        return list(rows), 0
    long = sum(len(row.ids) > max_length for row in rows)
    if long and too_long == "error":
        longest = max(len(row.ids) for row in rows)
        rule = f"{long} of {len(rows)} rows are longer than {max_length} tokens, the longest has {longest}"
        mend = "set data.too_long: drop or truncate, or raise data.max_length if the model can take more"
        raise DataError(where, "max_length", rule=rule, mend=mend)
    if too_long == "drop":
        return [row for row in rows if len(row.ids) <= max_length], long
    cut = [TokenRow(row.ids[:max_length], row.is_answer[:max_length]) for row in rows]
    return [row for row in cut if row.is_answer.any()], long


def _texts(settings: EvaluationSet, data: DataSettings, tokens: Tokens, cache_dir: Path) -> Stored:
    if settings.data == "held_out":
        rule = "text_loss reads plain text, not the held-out rows"
        raise DataError(f"evaluation.{settings.name}", "data", rule=rule, mend="give a text file, or use kind: loss")
    source = open_source(settings.data, data.split)
    digest, max_length = source.digest(), tokens.max_length(data)
    key = key_of("text", digest, source.split, settings.limit, max_length, tokens.digest, tokenizers.__version__)

    def build() -> tuple[list[TokenRow], Meta]:
        documents = load_texts(source)
        pieces = text_pieces(documents, tokens.tokenizer, max_length, settings.limit)
        rows = [TokenRow(ids, np.arange(len(ids)) > 0) for ids in pieces]
        if not rows:
            raise DataError(source.reference, rule="holds no text of at least two tokens")
        part = {"rows_found": len(documents), "rows_kept": len(rows), "format": "text", "source": source.reference}
        return rows, {"parts": [part | {"source_digest": digest}]}

    return open_or_build(cache_dir, key, build)
