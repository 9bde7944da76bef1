"""``validate``, ``plan`` and ``run``: from a sweep file to a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import (
    FileArgument,
    JsonOption,
    RayOption,
    SetOption,
    StorageOption,
    TrackingOption,
    TrialsOption,
    load_file,
)
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate validate search_spaces/dolly.yaml --set model=./my-model")
def validate(
    file: FileArgument,
    set_: SetOption = None,
    ray: RayOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything that can be checked without training, and print the resolved values."""
    spec = load_file(file, set_, storage, say=speaker(make_console(stderr=as_json)))
    from orchestrator.api import validate_sweep
    from orchestrator.reporting.terminal.plans import print_validation

    with libraries_off_stdout(as_json):
        outcome = validate_sweep(spec, ray_address=ray, where=str(file))
    if as_json:
        print_json(outcome.as_dict())
    else:
        print_validation(outcome.as_dict(), make_console())


@commands.command(epilog="Example: orchestrate plan search_spaces/quickstart.yaml --json")
def plan(
    file: FileArgument,
    set_: SetOption = None,
    trials: TrialsOption = None,
    storage: StorageOption = None,
    gpus: Annotated[
        bool,
        typer.Option(
            "--gpus", help="Add GPU memory and GPU-hours on named GPUs (always, where model or data is not here)."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List trials, samples, tokens, batch plans, estimated memory and time. Nothing is trained.

    With data.expected in the sweep file it needs neither weights nor data.
    """
    spec = load_file(file, set_, storage, trials, say=speaker(make_console(stderr=as_json)))
    from orchestrator.api import plan_trials
    from orchestrator.reporting.terminal.plans import print_plan

    with libraries_off_stdout(as_json):
        outcome = plan_trials(spec, where=str(file))
    if as_json:
        print_json(outcome.as_dict())
    else:
        print_plan(outcome.as_dict(), make_console(), gpus=gpus)


@commands.command(
    epilog="Example: orchestrate run search_spaces/dolly.yaml --set model=./my-model --set data.train=./my-data.jsonl"
)
def run(
    file: FileArgument,
    set_: SetOption = None,
    ray: RayOption = None,
    tracking_uri: TrackingOption = None,
    storage: StorageOption = None,
    trials: TrialsOption = None,
    record: Annotated[bool, typer.Option("--record", help="Stop nothing and keep all training signals.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set an earlier sweep of this name aside and start anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a sweep, or resume it when the same sweep was interrupted."""
    console = make_console(stderr=as_json)
    spec = load_file(file, set_, storage, trials, tracking_uri, speaker(console))
    from orchestrator.api import run_sweep
    from orchestrator.reporting.terminal.live import LiveTable
    from orchestrator.reporting.terminal.summary import print_summary

    with libraries_off_stdout(as_json), LiveTable(console) as table:
        result = run_sweep(
            spec,
            ray_address=ray,
            record=record,
            fresh=fresh,
            where=str(file),
            observer=table.show,
            say=speaker(console),
        )
    print_summary(result, console)
    if as_json:
        print_json(result.as_dict())
    if result.status == "interrupted":
        console.print("Interrupted; run the same command to go on.", style="bold yellow")
        raise typer.Exit(130)
