"""A recommendation in the terminal: each choice with its reason, then what past sweeps contributed."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.recommendation.recommendation import Recommendation
from orchestrator.spec.trial.identity import short_number

SHOWN = 12


def print_recommendation(found: Recommendation, console: Console) -> None:
    """Print the choices, and the weightiest evidence."""
    for note in found.notes:
        console.print(Text(note, style="dim"))
    table = Table("choice", "value", "reason", "source", title=Text(str(found.values["name"])), title_justify="left")
    for each in found.advice:
        field = each.field.removeprefix("search_space.").removeprefix("method.")
        table.add_row(Text(field), Text(_value(each.value)), Text(each.reason), Text("; ".join(each.sources)))
    console.print(table)
    if not found.evidence:
        return
    past = Table(
        "past sweep", "says of", "best", "trials", "similarity", "weight", title="Past sweeps", title_justify="left"
    )
    for piece in sorted(found.evidence, key=lambda each: -abs(each.weight))[:SHOWN]:
        field = piece.field.removeprefix("search_space.").removeprefix("method.")
        best = short_number(piece.best) + (" (edge)" if piece.at_edge else "")
        said = f"{field} (by {piece.method})" if piece.method else field
        past.add_row(
            Text(piece.sweep), Text(said), best, str(piece.trials), f"{piece.similarity:.2f}", f"{piece.weight:.2f}"
        )
    console.print(past)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(_value(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
