"""The decorator that makes a function an evaluation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from orchestrator.plugins.entries import PLUGIN, entry
from orchestrator.spec.evaluations.entry import Direction, EvaluationKind

Function = TypeVar("Function", bound=Callable[..., Mapping[str, object]])

READS = ("data", "format", "columns", "limit", "max_new_tokens")
"""Fields of an evaluation set that have a meaning for a function."""


def scorer(
    metrics: Mapping[str, Direction],
    *,
    gives: Literal["answers", "model"] = "answers",
    options: type[object] | None = None,
) -> Callable[[Function], Function]:
    """Make a function a kind of evaluation set, ``kind: FILE.py:FUNCTION`` in a sweep file.

    Args:
        metrics: What it returns, and which way each gets better: ``{"polite": "max"}``.
        gives: ``answers``: it is called with generated answers and references (two lists of texts) and the options;
            ``model``: with model, tokenizer, rows (a list of `Row`) and the options.
        options: Dataclass of its options, which stand under ``options`` in the sweep file.
    """

    def make(function: Function) -> Function:
        summary = (inspect.getdoc(function) or function.__name__).splitlines()[0]
        record = EvaluationKind(
            summary,
            PLUGIN,
            metrics=dict(metrics),
            reads=READS,
            options=options,
            gives=gives,
            not_in_files=lambda _: "the scorer is a plug-in",
        )
        return entry(record)(function)

    return make
