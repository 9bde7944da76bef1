"""The data of a sweep, ready for trials: tokenised training rows, held-out rows and evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import DataError
from orchestrator.settings.data import find_problem
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet
from orchestrator.training.data.phases import by_answer_length
from orchestrator.training.data.plans.stages import PhaseRows
from orchestrator.training.data.source_rows import SourceRows, mixed_rows, rows_of_sources
from orchestrator.training.data.sources import open_source, spread
from orchestrator.training.data.token_cache import Meta, Stored, TokenisedData, key_of
from orchestrator.training.data.token_rows import Progress
from orchestrator.training.data.tokens import Tokens as Tokens


@dataclass(frozen=True)
class PreparedData:
    """Training and held-out rows, and the notes taken when they were read (source -> note)."""

    train: TokenisedData
    held_out: TokenisedData | None
    notes: Mapping[str, Meta]


_COMPARED = ("bounds", "characters", "gold", "rows", "references")
"""Notes of a set that are no tokens and decide its scores, such as the right choices."""


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

    @property
    def digest(self) -> str:
        """Digest of all that its scores come from: rows of tokens, and what answers are compared with."""
        compared = {name: self.note[name] for name in _COMPARED if name in self.note}
        return key_of("set_rows", self.data.digest, compared) if compared else self.data.digest


def prepare_data(data: DataSettings, tokens: Tokens, cache_dir: Path, progress: Progress | None = None) -> PreparedData:
    """Read, tokenise and split the training data, or open what an earlier call left in the cache.

    Raises:
        DataError: If anything about the data is wrong.
    """
    if problem := find_problem(data):
        raise DataError("data", problem.field, problem.value, problem.rule, problem.mend)
    stored = _training_rows(data, tokens, cache_dir, progress)
    notes = {"train": stored.meta}
    if isinstance(data.held_out, str):
        held = _rows(data.held_out, data, data.format, data.columns, None, tokens, cache_dir)
        return PreparedData(_divided(stored.data, data), held.data, notes | {"held_out": held.meta})
    train, held_out = split_rows(len(stored.data), data.held_out, data.split_seed)
    if len(held_out) == 0:
        return PreparedData(_divided(stored.data, data), None, notes)
    return PreparedData(_divided(stored.data.select(train), data), stored.data.select(held_out), notes)


def _training_rows(data: DataSettings, tokens: Tokens, cache_dir: Path, progress: Progress | None) -> Stored:
    tagged = [phase for phase in data.phases if phase.where]
    if data.mixture:
        return mixed_rows(data, tagged, tokens, cache_dir, progress)
    names = [phase.name for phase in data.phases if phase.train]
    parts = [
        SourceRows(open_source(reference, data.split), data.format, data.columns, data.limit, tagged)
        for reference in data.sources
    ]
    return rows_of_sources(parts, names, data, tokens, cache_dir, progress)


def _divided(train: TokenisedData, data: DataSettings) -> TokenisedData:
    """Return the training rows with their phases; those by answer length are shares of what is not held out."""
    if not data.phases:
        return train
    shares = [phase.share for phase in data.phases if phase.share is not None]
    names = [phase.name for phase in data.phases]
    divided: Mapping[str, PhaseRows] = train.phases
    if shares:
        divided = by_answer_length(train.answer_lengths(), names, shares)
    if empty := [name for name in names if len(divided[name]) == 0]:
        raise DataError(
            "data", "phases", empty[0], "no training row belongs to this phase", "check its tag, or hold out fewer rows"
        )
    replay = {phase.name: phase.replay for phase in data.phases if phase.replay}
    return train.with_phases({name: divided[name] for name in names}, replay)


def prepare_set(
    settings: EvaluationSet, data: DataSettings, prepared: PreparedData, tokens: Tokens, cache_dir: Path
) -> PreparedSet:
    """Return an evaluation set of conversations with its rows tokenised.

    Raises:
        DataError: If its source is wrong, or it asks for held-out rows and there are none.
    """
    if settings.data == "held_out":
        if prepared.held_out is None:
            rule = "reads the held-out rows, but data.held_out is 0"
            raise DataError(
                f"evaluation.{settings.name}", "data", rule=rule, mend="give data.held_out a share or a count"
            )
        rows = np.asarray(spread(len(prepared.held_out), settings.limit), dtype=np.int64)
        note = prepared.notes.get("held_out", prepared.notes["train"])
        return PreparedSet(settings, prepared.held_out.select(rows), note)
    stored = _rows(settings.data, data, settings.format, settings.columns, settings.limit, tokens, cache_dir)
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
    reference: str,
    data: DataSettings,
    shape: str,
    columns: Mapping[str, str],
    limit: int | None,
    tokens: Tokens,
    cache_dir: Path,
) -> Stored:
    """Return the rows of a source that is no training data."""
    part = SourceRows(open_source(reference, data.split), shape, columns, limit)
    return rows_of_sources([part], [], data, tokens, cache_dir)
