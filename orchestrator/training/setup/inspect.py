"""Everything about a setup that can be known without training, for ``validate`` and ``plan``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.settings.trial_setup import TrialSetup
from orchestrator.training.data.token_cache import Meta, TokenisedData
from orchestrator.training.data.token_rows import Progress
from orchestrator.training.evaluations import scorers
from orchestrator.training.model.load import count_parameters, training_dtype, vocabulary_size
from orchestrator.training.setup.parts import SetupParts, load_parts, merged_notes
from orchestrator.training.setup.session import pick_device


@dataclass(frozen=True)
class LengthSummary:
    """How many tokens rows have."""

    rows: int
    tokens: int
    answer_tokens: int
    mean: float
    median: float
    percentile_95: float
    longest: int


@dataclass(frozen=True)
class ModelSummary:
    """The base model, without its weights having been read.

    ``length_limit`` is in tokens, None where the model names none; ``template`` says where the chat
    template comes from, ``end_of_turn`` what ends an answer.
    """

    path: str
    model_class: str
    parameters: int
    vocabulary: int
    tokenizer_vocabulary: int
    length_limit: int | None
    dtype: str
    template: str
    end_of_turn: str
    pads_with_end: bool


@dataclass(frozen=True)
class RowSummary:
    """What became of the rows of one source (or of all phases together)."""

    source: str
    format: str
    columns: Mapping[str, str]
    unused_columns: tuple[str, ...]
    rows_found: int
    rows_kept: int
    rows_without_answer: int
    first_rows_without_answer: tuple[int, ...]
    rows_too_long: int


@dataclass(frozen=True)
class PartSummary:
    """One source of several: how many of its rows there are, can be used, and are in the data (drawn, in a mixture)."""

    name: str
    source: str
    source_digest: str
    rows_found: int
    rows_usable: int
    rows: int


@dataclass(frozen=True)
class EvaluationSummary:
    """One evaluation set; ``rows`` are what is scored (questions, prompts, documents), ``metrics`` those of lm_eval's tasks."""

    name: str
    kind: str
    source: str
    rows: int
    tokens: int
    answer_tokens: int
    digest: str
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetupReport:
    """What `inspect_setup` found.

    Attributes:
        model: The base model.
        data: What became of the rows of the training data.
        train: Lengths of the training rows.
        held_out: Lengths of the held-out rows; None without any.
        duplicates: Held-out rows whose tokens also stand in the training rows.
        phases: Training rows of each phase.
        replay: Phase name -> share of the earlier phases' rows that it trains again.
        parts: The sources of a mixture; empty without one.
        missing: What was not here, so that the figures rest on ``data.expected``; empty where all was read.
        evaluation: The evaluation sets.
        train_digest: Digest of the training rows.
        seconds: Wall time of the inspection.
    """

    model: ModelSummary
    data: RowSummary
    train: LengthSummary
    held_out: LengthSummary | None
    duplicates: int
    phases: Mapping[str, int]
    evaluation: tuple[EvaluationSummary, ...]
    train_digest: str
    seconds: float
    replay: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[PartSummary, ...] = ()
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def inspect_setup(
    setup: TrialSetup, cache_dir: Path, *, device: str = "auto", progress: Progress | None = None
) -> SetupReport:
    """Read everything of a setup but the weights and say what was found.

    Args:
        setup: The setup.
        cache_dir: Folder of the cache of tokenised data; it is filled for the trials to come.
        device: Where trials will run (``auto``, ``cpu``, ``cuda``): decides the type of the weights.
        progress: Told while training rows are tokenised.

    Raises:
        ModelError: If the model, its tokenizer or its template cannot be used.
        DataError: If training data or an evaluation set cannot be used, or a judge does not answer.
        StorageError: If the cache cannot be written.
    """
    started = time.perf_counter()
    parts = load_parts(setup, cache_dir, progress)
    for entry in parts.sets:
        scorers.check(entry)
    train, held_out = parts.data.train, parts.data.held_out
    known = set(train.row_digests()) if held_out is not None else set()
    return SetupReport(
        model=_model_summary(setup, parts, device),
        data=_row_summary(parts.data.notes["train"]),
        train=length_summary(train),
        held_out=length_summary(held_out) if held_out is not None else None,
        duplicates=sum(digest in known for digest in held_out.row_digests()) if held_out is not None else 0,
        phases={name: len(rows) for name, rows in train.phases.items()},
        evaluation=tuple(
            EvaluationSummary(
                entry.name,
                entry.settings.kind,
                ", ".join(entry.settings.tasks) or entry.settings.data,
                int(entry.note.get("scored", len(entry.data))),
                entry.data.tokens,
                int(entry.data.answer_lengths().sum()),
                entry.data.digest,
                tuple(f"{entry.name}/{metric}" for metric in entry.note.get("metrics", ())),
            )
            for entry in parts.sets
        ),
        train_digest=train.digest,
        seconds=time.perf_counter() - started,
        replay=train.replay,
        parts=_part_summaries(parts.data.notes["train"]),
    )


def length_summary(data: TokenisedData) -> LengthSummary:
    """Summarise the lengths of rows (at least one row)."""
    lengths: NDArray[np.int32] = data.lengths
    return LengthSummary(
        rows=len(data),
        tokens=data.tokens,
        answer_tokens=int(data.answer_lengths().sum()),
        mean=round(float(lengths.mean()), 2),
        median=float(np.median(lengths)),
        percentile_95=float(np.percentile(lengths, 95)),
        longest=int(lengths.max()),
    )


def _model_summary(setup: TrialSetup, parts: SetupParts, device: str) -> ModelSummary:
    parameters, model_class = count_parameters(parts.config, setup.model)
    tokenizer, template = parts.tokens.tokenizer, parts.tokens.template
    return ModelSummary(
        path=setup.model.path,
        model_class=model_class,
        parameters=parameters,
        vocabulary=int(parts.config.get_text_config().vocab_size),
        tokenizer_vocabulary=vocabulary_size(tokenizer),
        length_limit=parts.tokens.model_length,
        dtype=str(training_dtype(setup.training, pick_device(device))).removeprefix("torch."),
        template=template.origin,
        end_of_turn=template.end or str(tokenizer.eos_token),
        pads_with_end=tokenizer.pad_token_id is None,
    )


def _part_summaries(notes: Meta) -> tuple[PartSummary, ...]:
    return tuple(
        PartSummary(
            part["name"],
            part["source"],
            part["source_digest"],
            part["rows_found"],
            part["rows_usable"],
            part["rows_kept"],
        )
        for part in notes["parts"]
        if "name" in part
    )


def _row_summary(notes: Meta) -> RowSummary:
    total = merged_notes(notes)
    return RowSummary(
        source=total["source"],
        format=total["format"],
        columns=total["columns"],
        unused_columns=tuple(total["unused_columns"]),
        rows_found=total["rows_found"],
        rows_kept=total["rows_kept"],
        rows_without_answer=total["rows_without_answer"],
        first_rows_without_answer=tuple(total["first_rows_without_answer"]),
        rows_too_long=total["rows_too_long"],
    )
