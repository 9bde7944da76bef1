"""The table of ``compare``: a row per quantity, a column per sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.terminal.forms import ComparedSweepForm, DifferenceForm, ScoredTrialForm
from orchestrator.reporting.text.numbers import duration, number, with_error


def print_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """Print the sweeps of `Comparison.as_dict` side by side, then in what their files differ."""
    sweeps: Sequence[ComparedSweepForm] = comparison["sweeps"]
    for warning in comparison["warnings"]:
        console.print(Text(f"Not comparable: {warning}.", style="bold yellow"))
    table = _titled(f"{comparison['metric']} ({comparison['mode']})", sweeps)
    table.add_row("status", *(Text(sweep["status"]) for sweep in sweeps))
    table.add_row("winner", *(Text(_name(sweep["winner"]), style="bold") for sweep in sweeps))
    table.add_row("  its score", *(_score(sweep["winner"]) for sweep in sweeps))
    table.add_row("  against the first", *(_difference(sweep) for sweep in sweeps))
    table.add_row("runner-up", *(Text(_name(sweep["runner_up"])) for sweep in sweeps))
    table.add_row("  its score", *(_score(sweep["runner_up"]) for sweep in sweeps))
    table.add_row("base model", *(number(sweep["base"]) for sweep in sweeps))
    table.add_row("trials", *(_counts(sweep["counts"]) for sweep in sweeps))
    table.add_row(
        "samples trained", *(f"{sweep['samples_trained']:,} of {sweep['samples_exhaustive']:,}" for sweep in sweeps)
    )
    table.add_row("  saved", *(f"{sweep['saved_share']:.0%}" for sweep in sweeps))
    table.add_row("training time", *(duration(sweep["training_seconds"]) for sweep in sweeps))
    table.add_row("wall time", *(duration(sweep["wall_seconds"]) for sweep in sweeps))
    table.add_row("utilisation", *(f"{sweep['utilisation']:.2f}" for sweep in sweeps))
    console.print(table)
    _print_methods(sweeps, console)
    _print_differences(comparison["differences"], sweeps, console)


def _print_methods(sweeps: Sequence[ComparedSweepForm], console: Console) -> None:
    names = dict.fromkeys(name for sweep in sweeps for name in sweep["best_by_method"])
    if not names:
        return
    table = _titled("best of each method", sweeps)
    for name in names:
        table.add_row(Text(name), *(_best(sweep["best_by_method"].get(name)) for sweep in sweeps))
    console.print()
    console.print(table)


def _print_differences(
    differences: Sequence[DifferenceForm], sweeps: Sequence[ComparedSweepForm], console: Console
) -> None:
    console.print()
    if not differences:
        console.print(Text("The sweep files, data and base models are the same.", style="dim"))
        return
    table = _titled("differs in", sweeps)
    for row in differences:
        table.add_row(Text(row["field"]), *(Text(_value(value)) for value in row["values"]))
    console.print(table)


def _titled(title: str, sweeps: Sequence[ComparedSweepForm]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(Text(title), no_wrap=True, style="dim")
    for sweep in sweeps:
        table.add_column(Text(sweep["label"]), overflow="fold")
    return table


def _name(scored: ScoredTrialForm | None) -> str:
    return "-" if scored is None else str(scored["name"])


def _score(scored: ScoredTrialForm | None) -> str:
    if scored is None:
        return "-"
    return with_error(scored["value"], scored["standard_error"])


def _difference(sweep: ComparedSweepForm) -> str:
    if sweep["difference"] is None:
        return "-"
    shown = f"{sweep['difference']:+.4g}"
    if sweep["difference_error"] is None:
        return shown
    return f"{shown} ± {number(sweep['difference_error'], 2)} ({sweep['standing']})"


def _best(scored: ScoredTrialForm | None) -> str:
    if scored is None:
        return "-"
    return f"{_score(scored)} at {scored['learning_rate']:g}, effective batch {scored['effective_batch_size']}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
