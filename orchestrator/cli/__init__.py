"""The command line. Parses first and imports later, so that ``--help`` and a wrong word answer at once.

A module of this package holds a few commands that belong together, each a function that imports what it
needs when it is called; its ``commands`` are entered below, in the order in which ``--help`` shows them.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli import (
    comparing,
    control,
    evaluating,
    exporting,
    extending,
    files,
    machine,
    reading,
    recommending,
    recorded,
    reports,
    reproducing,
    sweeps,
    ui,
)
from orchestrator.errors import OrchestratorError

__all__ = ["app", "main"]

app = typer.Typer(
    name="orchestrate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sweep supervised fine-tuning recipes of small language models on Ray; MLflow holds everything.",
)
for module in (
    recommending,
    sweeps,
    control,
    extending,
    reading,
    ui,
    comparing,
    exporting,
    evaluating,
    reports,
    reproducing,
    recorded,
    machine,
    files,
):
    app.add_typer(module.commands)


def main() -> None:
    """Entry point of the ``orchestrate`` command: one clear message and the right exit code for every error."""
    try:
        app(standalone_mode=True)
    except OrchestratorError as error:
        Console(stderr=True, emoji=False).print(
            f"[bold red]error[/]  {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
