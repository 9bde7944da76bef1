"""``stop``, ``resume`` and ``clone``: control of a running sweep's trials from another terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import JsonOption, StorageOption, SweepArgument, find_folder
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker

if TYPE_CHECKING:
    from orchestrator.results.records import ControlResult

commands = typer.Typer()

TrialArgument = Annotated[
    str, typer.Argument(metavar="TRIAL", help="Id (or its first digits) or name of a trial.", show_default=False)
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the driver's answer.")]
ChangesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field of search_space or a hyperparameter of the method, e.g. --set learning_rate=1e-4. Repeatable.",
    ),
]
WeightsOption = Annotated[
    bool,
    typer.Option("--from-weights", help="Start from the parent's newest weights; optimizer and data order are new."),
]


@commands.command(epilog="Example: orchestrate stop quickstart 'ia3 lr0.01 ebs32 s0'")
def stop(
    sweep: SweepArgument,
    trial: TrialArgument,
    now: Annotated[
        bool, typer.Option("--now", help="Stop within seconds; what was trained since the last milestone is lost.")
    ] = False,
    no_wait: NoWaitOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a trial of a running sweep: one that waits at once, one that trains at its next milestone."""
    from orchestrator.api.control.control import WAIT_SECONDS, stop_trial

    wait = 0.0 if no_wait else WAIT_SECONDS
    _tell(lambda: stop_trial(find_folder(sweep, storage), trial, now=now, wait_seconds=wait), as_json)


@commands.command(epilog="Example: orchestrate resume quickstart 310c162715")
def resume(
    sweep: SweepArgument,
    trial: TrialArgument,
    no_wait: NoWaitOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a stopped trial of a running sweep on to its end, judged by nobody; it may win."""
    from orchestrator.api.control.control import WAIT_SECONDS, resume_trial

    wait = 0.0 if no_wait else WAIT_SECONDS
    _tell(lambda: resume_trial(find_folder(sweep, storage), trial, wait_seconds=wait), as_json)


@commands.command(epilog="Example: orchestrate clone quickstart 566fa32096 --set learning_rate=5e-4")
def clone(
    sweep: SweepArgument,
    trial: TrialArgument,
    set_: ChangesOption = None,
    from_weights: WeightsOption = False,
    no_wait: NoWaitOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a trial to a running sweep: another one's configuration with some values changed; it may win."""
    from orchestrator.api.control.control import WAIT_SECONDS, clone_trial

    wait = 0.0 if no_wait else WAIT_SECONDS
    folder = find_folder(sweep, storage)
    _tell(lambda: clone_trial(folder, trial, set_ or (), from_weights=from_weights, wait_seconds=wait), as_json)


def _tell(ask: Callable[[], ControlResult], as_json: bool) -> None:
    with libraries_off_stdout(as_json):
        result = ask()
    if as_json:
        print_json(result.as_dict())
        return
    console = make_console()
    console.print(result.answer, highlight=False, markup=False, soft_wrap=True)
    if result.state == "queued":
        speaker(console)(f"Asked: {result.action} {result.name} ({result.trial_id})")
