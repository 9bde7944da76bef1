"""``report``: a sweep as a page that a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import JsonOption, StorageOption, SweepArgument
from orchestrator.cli.output import make_console, print_json

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate report quickstart --out quickstart.html")
def report(
    sweep: SweepArgument,
    storage: StorageOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            help="A folder, or a file that ends in .html or .md; default: report in the sweep's folder.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a finished, running or interrupted sweep: one HTML page, and Markdown with pictures."""
    from orchestrator.api.report.report import write_report

    written = write_report(sweep, storage, out)
    if as_json:
        print_json(written.as_dict())
        return
    console = make_console()
    for sentence in written.headline:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    for file in (written.page, written.markdown):
        if file is not None:
            console.print(f"Report  {file}", highlight=False, markup=False, soft_wrap=True)
    if written.tracking:
        console.print(f"MLflow  {written.tracking}", highlight=False, markup=False, soft_wrap=True)
