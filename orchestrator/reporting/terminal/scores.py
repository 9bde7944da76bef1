"""What ``evaluate`` found: one line per metric, one column per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.sweep_report.facts.facts import counted
from orchestrator.reporting.terminal.forms import ScoredModelForm
from orchestrator.reporting.text.numbers import cut, duration, with_error

_COLUMNS = 4
_NAME_WIDTH = 28


def print_scores(result: Mapping[str, Any], console: Console) -> None:
    """Print the scores of an `EvaluationResult`, as its dictionary."""
    models: Sequence[ScoredModelForm] = result["models"]
    for start in range(0, len(models), _COLUMNS):
        console.print(_table(models[start : start + _COLUMNS]))
    known = sum(bool(model["cached"]) for model in models)
    untracked = sum(not model["tracked"] for model in models if model["trial_id"])
    lines = [
        f"{counted(len(models), 'model')} in {duration(result['seconds'])}; the scores of {known} were known already"
    ]
    if untracked:
        lines.append(
            f"{untracked} of them are in the sweep's folder only: MLflow has no run of theirs, or did not take them"
        )
    lines += [f"Not scored: {name}: {reason}" for name, reason in result["skipped"].items()]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(models: Sequence[ScoredModelForm]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("score", no_wrap=True)
    for model in models:
        table.add_column(Text(cut(model["name"], _NAME_WIDTH)), justify="right", no_wrap=True)
    for metric in dict.fromkeys(metric for model in models for metric in model["scores"]):
        table.add_row(Text(metric), *(_cell(model, metric) for model in models))
    return table


def _cell(model: ScoredModelForm, metric: str) -> str:
    value, error = model["scores"].get(metric), model["standard_errors"].get(metric)
    return with_error(value, error)
