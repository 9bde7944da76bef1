"""``ui``: MLflow in the browser, at the sweep's page."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from types import FrameType
from typing import Annotated

import typer

from orchestrator.cli.options import JsonOption, OptionalSweep, StorageOption, find_folder
from orchestrator.cli.output import make_console, print_json

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate ui quickstart --storage runs")
def ui(
    sweep: OptionalSweep = None,
    storage: StorageOption = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Port; default: the first free one from 5000 on."),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Open the MLflow UI on this machine at the page of a sweep (without SWEEP the last one); Ctrl-C ends it."""
    from orchestrator.api import open_ui

    console = make_console(stderr=as_json)
    folder = find_folder(sweep, storage)
    signal.signal(signal.SIGTERM, _interrupt)
    console.print("Opening the MLflow UI ...", style="dim")
    with open_ui(folder, port) as shown:
        if as_json:
            print_json({"sweep": folder.name, "page": shown.page, "server": shown.ui.server, "started": shown.started})
            sys.stdout.flush()
        console.print(f"Sweep {folder.name}  {shown.page}", highlight=False, soft_wrap=True, markup=False)
        if not no_browser and has_screen():
            webbrowser.open(shown.page)
        if not shown.started:
            console.print("A UI runs on this store already; it is left as it is.", style="dim")
            return
        console.print("Ctrl-C ends it.", style="dim")
        try:
            shown.ui.wait()
        except KeyboardInterrupt:
            console.print("Ended.", style="dim")


def has_screen() -> bool:
    """Whether a browser would open a window; a text browser in this terminal is not wanted."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
