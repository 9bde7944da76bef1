"""The table of ``doctor``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.terminal.forms import FindingForm

STATUS_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def print_diagnosis(diagnosis: Mapping[str, Any], console: Console) -> None:
    """Print the findings of `Diagnosis.as_dict`, each with how to mend it, and a last line for all."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    findings: Sequence[FindingForm] = diagnosis["findings"]
    for finding in findings:
        status = finding["status"]
        text = Text(finding["text"])
        if finding["mend"]:
            text.append(f"\n{finding['mend'][0].upper()}{finding['mend'][1:]}.", style="bold")
        table.add_row(Text(status, style=STATUS_STYLE[status]), Text(finding["check"]), text)
    console.print(table)
    console.print(_verdict(findings, diagnosis["seconds"]))


def _verdict(findings: Sequence[FindingForm], seconds: float) -> Text:
    failed = sum(finding["status"] == "fail" for finding in findings)
    warned = sum(finding["status"] == "warn" for finding in findings)
    if failed:
        return Text(
            f"{failed} failed, {warned} warned: a sweep would not run here ({seconds:.0f} s).", style="bold red"
        )
    if warned:
        return Text(f"A sweep runs here; {warned} warned ({seconds:.0f} s).", style="yellow")
    return Text(f"A sweep runs here; nothing to mend ({seconds:.0f} s).", style="green")
