"""What an entry of the table of evaluation kinds says. The rest of the program asks the entry, never for a kind's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.settings.evaluation import EvaluationSet

Direction = Literal["min", "max"]


def _nothing_wrong(entry: EvaluationSet, place: str) -> None:
    return None


def _nothing(entry: EvaluationSet) -> frozenset[str]:
    return frozenset()


def _never(entry: EvaluationSet) -> bool:
    return False


def _by_files(entry: EvaluationSet) -> str:
    return ""


@dataclass(frozen=True)
class SourceField:
    """A field of a set that may name rows: their content decides its scores.

    Attributes:
        path: Name of the field; two names for one of a section.
        unless: Value that names no source.
        split: Split that is read; empty: the one of the sweep's data.
    """

    path: tuple[str, ...]
    unless: str = ""
    split: str = ""


@dataclass(frozen=True, eq=False)
class EvaluationKind:
    """One kind of evaluation set.

    Attributes:
        summary: What it measures.
        scorer: Its scorer, ``module:CLASS`` (a `Scorer` of `orchestrator.training.evaluations`), imported at its first use.
        metrics: What its metrics are called after ``NAME/``, and which way each gets better; empty where only its tasks tell.
        reads: Fields that have a meaning for it.
        own_data: It cannot score the held-out rows, so it needs a source of its own.
        takes_data: It reads rows at all.
        by_task: Its metrics are called ``NAME/TASK/METRIC``, which are known once its tasks are read.
        quick: Its scores at a milestone are quicker computed again than looked up.
        left_out: Which of its metrics a set does not give.
        check: Raises `SpecError` where the fields of a set (second argument: its place in the file) do not fit together.
        needs_base: Whether a set compares a model with the base model.
        zero_for_base: Metrics that compare with the base model, so that the base itself has 0.
        sources: Fields that name rows.
        not_in_files: Why a set's scores cannot be told from files alone; empty where they can.
        options: Dataclass of the options that it reads under ``options``.
        gives: What a scorer that is a function is called with (see `orchestrator.training.evaluations.function`).
        open_fields: Whether a set may have any fields and metrics, as where its code is not loaded.
        no_matter: Section of the set -> those of its fields that do not change a score.
    """

    summary: str
    scorer: object
    metrics: Mapping[str, Direction]
    reads: tuple[str, ...]
    own_data: bool = False
    takes_data: bool = True
    by_task: bool = False
    quick: bool = False
    left_out: Callable[[EvaluationSet], frozenset[str]] = _nothing
    check: Callable[[EvaluationSet, str], None] = _nothing_wrong
    needs_base: Callable[[EvaluationSet], bool] = _never
    zero_for_base: tuple[str, ...] = ()
    sources: tuple[SourceField, ...] = (SourceField(("data",), unless="held_out"),)
    not_in_files: Callable[[EvaluationSet], str] = _by_files
    no_matter: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: type[object] | None = None
    gives: Literal["answers", "model"] = "answers"
    open_fields: bool = False
