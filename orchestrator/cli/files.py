"""``schema``: what an editor needs to know of the sweep file."""

from __future__ import annotations

import typer

from orchestrator.cli.output import print_json

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate schema > sweep.schema.json")
def schema() -> None:
    """Print the JSON Schema of the sweep file, for editors."""
    from orchestrator.spec.schema import sweep_schema

    print_json(sweep_schema())
