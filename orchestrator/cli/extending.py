"""``extend``: a sweep that has ended goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import JsonOption, RayOption, StorageOption, SweepArgument, find_folder
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker

commands = typer.Typer()

_OF_THE_SWEEP = ("search_space.", "searcher", "budget.", "resources.", "cluster", "tracking.", "stopping.", "winner.")


@commands.command(epilog="Example: orchestrate extend quickstart --best 2 --samples 8192")
def extend(
    sweep: SweepArgument,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="N", min=1, help="So many more trials of the search.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change search_space..., searcher or budget.trials; with --clone also a field of the clone. Repeatable.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="The sweep file with another search space, searcher or number of trials."
        ),
    ] = None,
    best: Annotated[
        int | None,
        typer.Option("--best", metavar="N", min=1, help="Train the best N completed trials on to --samples."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="M", min=1, help="Larger budget of a trial, from its beginning.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", metavar="E", min=0.0, help="The same in passes over the data.")
    ] = None,
    restart_schedule: Annotated[
        bool,
        typer.Option(
            "--restart-schedule",
            help="Where training cannot go on exactly (a decaying schedule): start anew from the weights.",
        ),
    ] = False,
    audit: Annotated[
        float | None,
        typer.Option("--audit", metavar="SHARE", min=0.0, max=1.0, help="Audit this share of the stopped trials."),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option("--repeats", metavar="N", min=0, help="Repeat the best recipes with up to N new seeds."),
    ] = None,
    resume: Annotated[
        list[str] | None,
        typer.Option("--resume", metavar="TRIAL", help="Train a stopped trial on to its end. Repeatable."),
    ] = None,
    clone: Annotated[
        str | None, typer.Option("--clone", metavar="TRIAL", help="Add a clone of this trial, changed by --set.")
    ] = None,
    from_weights: Annotated[
        bool, typer.Option("--from-weights", help="The clone starts from its parent's weights.")
    ] = False,
    ray: RayOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Extend a sweep: more trials, a wider range, or its best trained on; nothing is trained twice. Alone: go on with it."""
    from orchestrator.api import ExtendRequest, extend_sweep
    from orchestrator.reporting.terminal.live import LiveTable
    from orchestrator.reporting.terminal.summary import print_summary

    texts = set_ or []
    of_sweep = [text for text in texts if clone is None or text.strip().startswith(_OF_THE_SWEEP)]
    request = ExtendRequest(
        trials=trials,
        changes=of_sweep,
        file=file,
        best=best,
        samples=samples,
        epochs=epochs,
        restart_schedule=restart_schedule,
        audit=audit,
        repeats=repeats,
        resume=resume or (),
        clone=clone,
        clone_changes=[text for text in texts if text not in of_sweep],
        from_weights=from_weights,
    )
    console = make_console(stderr=as_json)
    folder = find_folder(sweep, storage)
    with libraries_off_stdout(as_json), LiveTable(console) as table:
        result = extend_sweep(folder, request, ray_address=ray, observer=table.show, say=speaker(console))
    print_summary(result, console)
    if as_json:
        print_json(result.as_dict())
    if result.status == "interrupted":
        console.print(f"Interrupted; 'orchestrate extend {folder.root}' goes on.", style="bold yellow")
        raise typer.Exit(130)
