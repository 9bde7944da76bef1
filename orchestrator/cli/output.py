"""How commands print: consoles of the right width, one JSON object, lines of what goes on."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console


def make_console(stderr: bool = False) -> Console:
    """Return a console for standard output or standard error."""
    # A name such as script.py:train: holds the name of an emoji, and is to be printed as it stands.
    console = Console(stderr=stderr, emoji=False)
    # Into a file or pipe there is no width to keep to, and cut-off tables would be of no use.
    return console if console.is_terminal else Console(stderr=stderr, emoji=False, width=200)


def libraries_off_stdout(as_json: bool) -> AbstractContextManager[object]:
    """Ray prints what befell a worker on standard output, where a program expects one JSON object and no more."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def speaker(console: Console) -> Callable[[str], None]:
    """Return what prints a line on what goes on."""
    return lambda text: console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


def print_json(values: object) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(values, indent=2, default=str) + "\n")
