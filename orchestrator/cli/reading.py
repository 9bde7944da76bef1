"""``status`` and ``watch``: how sweeps stand, from any terminal that sees the storage or the MLflow store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import JsonOption, OptionalSweep, StorageOption, find_folder, storage_or_default
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json

if TYPE_CHECKING:
    from orchestrator.results.records import SweepView
    from orchestrator.results.statuses import SweepStatus

commands = typer.Typer()

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", metavar="URI", help="Read from this MLflow store instead, e.g. of a driver elsewhere."
    ),
]


@commands.command(epilog="Example: orchestrate status quickstart --storage runs")
def status(
    sweep: OptionalSweep = None,
    storage: StorageOption = None,
    tracking_uri: StoreOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every trial, also of a large sweep.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show all sweeps of a storage, or one with its trials; running ones too, and without their driver."""
    from orchestrator.reporting.terminal.status import print_sweep, print_sweeps

    if sweep is None:
        with libraries_off_stdout(as_json):
            place, found = _all_sweeps(storage, tracking_uri)
        if as_json:
            print_json({"place": place, "sweeps": [each.as_dict() for each in found]})
        else:
            print_sweeps(found, place, make_console(), time.time())
        return
    with libraries_off_stdout(as_json):
        shown = _one_sweep(sweep, storage, tracking_uri)
    if as_json:
        print_json(shown.as_dict())
    else:
        print_sweep(shown, make_console(), time.time(), everything)


@commands.command(epilog="Example: orchestrate watch quickstart --storage runs")
def watch(
    sweep: OptionalSweep = None,
    storage: StorageOption = None,
    tracking_uri: StoreOption = None,
    every: Annotated[
        float | None,
        typer.Option(
            "--every", metavar="SECONDS", min=0.1, help="Seconds between two looks; default: 1, from MLflow 5."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each snapshot as one line of JSON on standard output.")
    ] = False,
) -> None:
    """Follow a running sweep's live table until it ends; without SWEEP the one that runs, or ran last."""
    from orchestrator.api import watch_sweep, watch_tracked
    from orchestrator.reporting.terminal.live import LiveTable
    from orchestrator.reporting.terminal.status import print_sweep
    from orchestrator.reporting.terminal.summary import print_summary

    console = make_console(stderr=as_json)
    with LiveTable(console) as table:
        show: Callable[[SweepView], None] = _print_line if as_json else table.show
        if tracking_uri is None:
            result = watch_sweep(find_folder(sweep, storage), show, every or 1.0)
        else:
            ended = watch_tracked(tracking_uri, sweep or _latest(tracking_uri), show, every or 5.0)
    if as_json:
        return
    if tracking_uri is not None:
        print_sweep(ended, console, time.time())
        return
    print_summary(result, console)
    if result.status == "interrupted":
        console.print("Interrupted; the command that ran it goes on from here.", style="yellow")


def _all_sweeps(storage: Path | None, tracking_uri: str | None) -> tuple[str, tuple[SweepStatus, ...]]:
    from orchestrator.api import storage_status, tracked_sweeps

    if tracking_uri is not None:
        return f"the store {tracking_uri}", tracked_sweeps(tracking_uri)
    place = storage_or_default(storage)
    return f"the storage '{place}'", storage_status(place)


def _one_sweep(sweep: str, storage: Path | None, tracking_uri: str | None) -> SweepStatus:
    from orchestrator.api import sweep_status, tracked_sweep

    return tracked_sweep(tracking_uri, sweep) if tracking_uri is not None else sweep_status(find_folder(sweep, storage))


def _latest(tracking_uri: str) -> str:
    from orchestrator.errors import TrackingError
    from orchestrator.tracking.mlflow.reader import RunReader

    runs = RunReader(tracking_uri).sweeps()
    if not runs:
        raise TrackingError("--tracking-uri", value=tracking_uri, rule="this store has no sweep yet")
    return runs[0].sweep


def _print_line(view: SweepView) -> None:
    sys.stdout.write(json.dumps(asdict(view)) + "\n")
    sys.stdout.flush()
