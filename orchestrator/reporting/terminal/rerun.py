"""The table of ``rerun``: what agrees, metric by metric, and what the result depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.terminal.forms import CapsuleLineForm, MetricSamenessForm, SignalSamenessForm
from orchestrator.reporting.text.numbers import duration, number

STYLE = {
    "identical": "green",
    "within rounding": "green",
    "within error": "yellow",
    "different": "bold red",
    "unknown": "dim",
    "same": "green",
    "differs": "yellow",
}
_SENTENCES = {
    "identical": "The result is the same, bit for bit.",
    "within rounding": "The result is the same within rounding.",
    "within error": "The result is not told apart from the first (within two standard errors).",
    "different": "The result is not the same.",
}


def print_rerun(rerun: Mapping[str, Any], console: Console) -> None:
    """Print what `RerunResult.as_dict` holds."""
    console.print(Text.assemble((rerun["name"], "bold"), f"  {rerun['trial_id']} of sweep {rerun['sweep']}"))
    console.print(_capsule(rerun["capsule"]))
    console.print()
    if rerun["scores"]:
        console.print(_scores(rerun["scores"]))
    console.print(_signals(rerun["signals"]))
    if rerun["weights"] is not None:
        told = "the same bit for bit" if rerun["weights"] else "not the same bit for bit"
        console.print(f"weights  {told}", highlight=False)
    if rerun["kept"]:
        console.print(f"checkpoint  {rerun['kept']}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        Text(
            f"{_SENTENCES[rerun['verdict']]} ({duration(rerun['seconds'])} on {rerun['device']})",
            style=STYLE[rerun["verdict"]],
        )
    )


def _capsule(lines: Sequence[CapsuleLineForm]) -> Table:
    """Return what differs or is unknown line by line, and what is the same in one."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    same = [line["what"] for line in lines if line["agreement"] == "same"]
    if same:
        table.add_row("same", Text("same", style=STYLE["same"]), Text(", ".join(same)))
    for line in lines:
        if line["agreement"] == "differs":
            table.add_row(
                Text(line["what"]),
                Text("differs", style=STYLE["differs"]),
                Text(f"{line['before']} then, {line['now']} now"),
            )
    unknown = [line["what"] for line in lines if line["agreement"] == "unknown"]
    if unknown:
        table.add_row("not recorded", Text("unknown", style=STYLE["unknown"]), Text(", ".join(unknown)))
    return table


def _scores(scores: Sequence[MetricSamenessForm]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("metric", no_wrap=True)
    for title in ("samples", "then", "now", "standard error"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in scores:
        table.add_row(
            Text(row["metric"]),
            f"{row['samples_seen']:,}",
            number(row["before"], 8),
            number(row["now"], 8),
            number(row["standard_error"], 2),
            Text(row["verdict"], style=STYLE[row["verdict"]]),
        )
    return table


def _signals(signals: SignalSamenessForm) -> Text:
    if signals["verdict"] == "unknown":
        return Text("training signals  of the sweep are gone, so steps were not compared")
    text = Text(f"training signals  {signals['steps']} steps: ")
    text.append(signals["verdict"], style=STYLE[signals["verdict"]])
    if signals["first_difference"] is not None:
        text.append(
            f" from step {signals['first_difference']} on; at most {signals['loss']:.1g} of the loss, "
            f"{signals['grad_norm']:.1g} of the gradient norm"
        )
    return text
