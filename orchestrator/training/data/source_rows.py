"""The rows of one source or of several, tokenised, in the order in which they are kept: phase by phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tokenizers

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings, Phase
from orchestrator.training.data.formats import Converted, convert_rows
from orchestrator.training.data.mixture import draw_rows, mixture_counts
from orchestrator.training.data.phases import phase_of_rows
from orchestrator.training.data.sources import Source, open_source
from orchestrator.training.data.token_cache import Meta, Stored, key_of, open_or_build
from orchestrator.training.data.token_rows import Progress, TokenRow, tokenise_conversations
from orchestrator.training.data.tokens import Tokens

_LISTED = 20


@dataclass(frozen=True)
class SourceRows:
    """One source and how its rows are read.

    Attributes:
        source: The source.
        shape: Shape of its rows, or ``auto``.
        columns: Role -> column.
        limit: At most so many rows, spread evenly over the source; None for all.
        tagged: Phases that divide its rows by their tags; empty: its rows stay together.
    """

    source: Source
    shape: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    tagged: Sequence[Phase] = ()


def rows_of_sources(
    parts: Sequence[SourceRows],
    names: Sequence[str],
    data: DataSettings,
    tokens: Tokens,
    cache_dir: Path,
    progress: Progress | None = None,
) -> Stored:
    """Return the rows of sources end to end, from the cache where it has them.

    Args:
        parts: The sources.
        names: Names of the phases that they are, one per source; empty: they are none.
        data: Rules for rows that are too long or lack an answer.
        tokens: What turns text into tokens.
        cache_dir: Folder of the cache.
        progress: Told while rows are tokenised.

    Raises:
        DataError: If a source or a row is wrong.
    """
    max_length = tokens.max_length(data)
    digests = [part.source.digest() for part in parts]
    rules = [parts[0].shape, dict(parts[0].columns), parts[0].limit, data.missing_answer, data.too_long, max_length]
    spelling = [tokens.digest, tokens.template.text, tokens.template.appends_end, tokenizers.__version__]
    tags = [[[phase.name, dict(phase.where)] for phase in part.tagged] for part in parts if part.tagged]
    key = key_of("rows", digests, list(names), [part.source.split for part in parts], rules, spelling, *tags)

    def build() -> tuple[list[TokenRow], Meta]:
        rows: list[TokenRow] = []
        meta: Meta = {"parts": [], "phases": []}
        for place, (part, digest) in enumerate(zip(parts, digests, strict=True)):
            start = len(rows)
            kept, note, ranges = _converted(part, data, tokens, max_length, progress)
            rows.extend(kept)
            meta["parts"].append(note | {"source": part.source.reference, "source_digest": digest})
            meta["phases"] += [[name, start + low, start + high] for name, low, high in ranges]
            if names:
                meta["phases"].append([names[place], start, len(rows)])
        return rows, meta

    return open_or_build(cache_dir, key, build)


def mixed_rows(
    data: DataSettings, tagged: Sequence[Phase], tokens: Tokens, cache_dir: Path, progress: Progress | None = None
) -> Stored:
    """Return the rows that a mixture draws from its sources, from the cache where it has them.

    Every source is tokenised whole and kept, so that other weights cost no second tokenisation. The notes have one
    part per source with ``rows_usable``; ``rows_kept`` are those drawn.

    Args:
        data: Settings with a mixture.
        tagged: Phases that divide the rows by their tags.
        tokens: What turns text into tokens.
        cache_dir: Folder of the cache.
        progress: Told while rows are tokenised.

    Raises:
        DataError: If a source or a row is wrong, or a source has too few rows.
    """
    stored = [
        rows_of_sources(
            [SourceRows(open_source(part.train, data.split), part.format, part.columns or data.columns, None, tagged)],
            [],
            data,
            tokens,
            cache_dir,
            progress,
        )
        for part in data.mixture
    ]
    available = {part.name: len(entry.data) for part, entry in zip(data.mixture, stored, strict=True)}
    counts = mixture_counts(data.mixture, available, data.limit)
    drawn = [
        draw_rows(len(entry.data), count, data.split_seed, index)
        for index, (entry, count) in enumerate(zip(stored, counts, strict=True))
    ]
    digests = [entry.data.digest for entry in stored]
    key = key_of("mixture", digests, counts, data.split_seed, [phase.name for phase in tagged])

    def build() -> tuple[list[TokenRow], Meta]:
        rows: list[TokenRow] = []
        meta: Meta = {"parts": [], "phases": []}
        for part, entry, chosen in zip(data.mixture, stored, drawn, strict=True):
            note = entry.meta["parts"][0]
            meta["parts"].append(note | {"name": part.name, "rows_usable": note["rows_kept"], "rows_kept": len(chosen)})
        for name in [phase.name for phase in tagged] or [""]:
            start = len(rows)
            for entry, chosen in zip(stored, drawn, strict=True):
                own = entry.data.phases[name] if name else range(len(entry.data))
                places = chosen[np.isin(chosen, np.asarray(own))].tolist()
                rows += [
                    TokenRow(np.asarray(ids), np.asarray(mask)) for ids, mask in map(entry.data.__getitem__, places)
                ]
            if name:
                meta["phases"].append([name, start, len(rows)])
        return rows, meta

    return open_or_build(cache_dir, key, build)


def _converted(
    part: SourceRows, data: DataSettings, tokens: Tokens, max_length: int | None, progress: Progress | None
) -> tuple[list[TokenRow], Meta, list[tuple[str, int, int]]]:
    """Return the kept rows of one source, the note on them, and where each tagged phase begins and ends."""
    where = part.source.reference
    rows, numbers = part.source.sample(part.limit)
    converted = convert_rows(rows, part.shape, part.columns, data.missing_answer, where, numbers)
    phase_of = dict(zip(numbers, phase_of_rows(rows, part.tagged, where), strict=True)) if part.tagged else {}
    kept: list[TokenRow] = []
    ranges: list[tuple[str, int, int]] = []
    too_long = 0
    for index, phase in enumerate(part.tagged or [None]):
        own = [i for i, number in enumerate(converted.row_numbers) if phase is None or phase_of[number] == index]
        place = where if phase is None else f"{where} (phase {phase.name})"
        made = tokenise_conversations(
            [converted.conversations[i] for i in own],
            [converted.row_numbers[i] for i in own],
            tokens.tokenizer,
            tokens.template,
            where,
            progress,
        )
        fitting, long = fit_length(list(made), max_length, data.too_long, place)
        if phase is not None:
            ranges.append((phase.name, len(kept), len(kept) + len(fitting)))
        kept += fitting
        too_long += long
    if not kept:
        raise DataError(where, rule=f"no row is left: all {len(rows)} are dropped", mend="raise data.max_length")
    return kept, _note(converted, len(rows), len(kept), too_long), ranges


def _note(converted: Converted, found: int, kept: int, too_long: int) -> Meta:
    return {
        "rows_found": found,
        "rows_kept": kept,
        "format": converted.shape,
        "columns": converted.columns,
        "unused_columns": list(converted.unused_columns),
        "rows_without_answer": len(converted.missing),
        "first_rows_without_answer": list(converted.missing[:_LISTED]),
        "rows_too_long": too_long,
    }


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
