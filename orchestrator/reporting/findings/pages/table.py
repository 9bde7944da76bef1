"""The verdicts as a table in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from orchestrator.reporting.findings.pages.facts import FindingsFacts
from orchestrator.reporting.findings.pages.wording import effect_text, interval_text

_STYLE = {"reproduced": "green", "not reproduced": "red", "undecided": "yellow"}


def print_findings(facts: FindingsFacts, console: Console) -> None:
    """Print every finding with its verdict and primary effects."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("finding", "verdict", "compared", "effect", "95 % interval", "n", "would decide"):
        table.add_column(title, overflow="fold")
    for outcome in facts.outcomes:
        name = f"{outcome.finding.id} {outcome.finding.title}"
        verdict = outcome.verdict or "not tested"
        style = _STYLE.get(verdict, "dim")
        if not outcome.primary:
            table.add_row(name, verdict, outcome.why, "", "", "", "", style=style)
        for each in outcome.primary:
            effect = each.effect
            needed = "" if each.verdict != "undecided" else str(each.needed or "not feasible")
            shown = each.verdict if outcome.verdict is not None else verdict
            table.add_row(
                name,
                shown,
                each.comparison.says,
                effect_text(each),
                interval_text(each),
                str(effect.n),
                needed,
                style=_STYLE.get(shown, "dim"),
            )
            name = ""
    console.print(table)
    for text in facts.notes:
        console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
