"""``compare``: sweeps side by side."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from orchestrator.cli.options import JsonOption, StorageOption, find_folder
from orchestrator.cli.output import make_console, print_json

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate compare quickstart quickstart-recorded --storage runs")
def compare(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            metavar="SWEEP SWEEP...", help="Names of sweeps in the storage, or folders.", show_default=False
        ),
    ],
    storage: StorageOption = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="METRIC", help="Compare by this metric, not by the objective.")
    ] = None,
    mode: Annotated[
        Literal["min", "max"], typer.Option("--mode", metavar="MODE", help="min or max: which of --metric is best.")
    ] = "min",
    as_json: JsonOption = False,
) -> None:
    """Put two or more sweeps side by side: winners with errors, cost, best of each method, differing fields."""
    from orchestrator.api import compare_sweeps
    from orchestrator.reporting.terminal.compare import print_comparison

    comparison = compare_sweeps([find_folder(sweep, storage) for sweep in sweeps], metric, mode)
    if as_json:
        print_json(comparison.as_dict())
    else:
        print_comparison(comparison.as_dict(), make_console())
