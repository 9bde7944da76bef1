"""The command line. Parses first and imports later, so that ``--help`` and a wrong word answer at once."""

from __future__ import annotations

import contextlib
import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.errors import OrchestratorError

app = typer.Typer(
    name="orchestrate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sweep supervised fine-tuning recipes of small language models on Ray; MLflow holds everything.",
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file (YAML).", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field, e.g. --set budget.trials=8. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
StorageOption = Annotated[
    Path | None,
    typer.Option("--storage", metavar="DIR", help="Folder for journals, checkpoints and the default MLflow store."),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Join the Ray cluster at this address (HOST:PORT or auto)."),
]
TrialsOption = Annotated[int | None, typer.Option("--trials", metavar="N", min=1, help="Number of trials.")]


@app.command(epilog="Example: orchestrate validate search_spaces/dolly.yaml --set model=./my-model")
def validate(
    file: FileArgument,
    set_: SetOption = None,
    ray: RayOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything that can be checked without training, and print the resolved values."""
    spec = _load(file, set_, storage)
    from orchestrator.api import validate_sweep
    from orchestrator.reporting.plans import print_validation

    with _libraries_off_stdout(as_json):
        outcome = validate_sweep(spec, ray_address=ray, where=str(file))
    if as_json:
        _print_json(outcome.as_dict())
    else:
        print_validation(outcome.as_dict(), _console())


@app.command(epilog="Example: orchestrate plan search_spaces/quickstart.yaml --json")
def plan(
    file: FileArgument,
    set_: SetOption = None,
    trials: TrialsOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """List trials, samples, tokens, batch plans, estimated memory and time. Nothing is trained."""
    spec = _load(file, set_, storage, trials)
    from orchestrator.api import plan_trials
    from orchestrator.reporting.plans import print_plan

    with _libraries_off_stdout(as_json):
        outcome = plan_trials(spec, where=str(file))
    if as_json:
        _print_json(outcome.as_dict())
    else:
        print_plan(outcome.as_dict(), _console())


@app.command(
    epilog="Example: orchestrate run search_spaces/dolly.yaml --set model=./my-model --set data.train=./dolly.jsonl"
)
def run(
    file: FileArgument,
    set_: SetOption = None,
    ray: RayOption = None,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow tracking server or store.")
    ] = None,
    storage: StorageOption = None,
    trials: TrialsOption = None,
    record: Annotated[bool, typer.Option("--record", help="Stop nothing and keep all training signals.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set an earlier sweep of this name aside and start anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a sweep, or resume it when the same sweep was interrupted."""
    spec = _load(file, set_, storage, trials, tracking_uri)
    from orchestrator.api import run_sweep
    from orchestrator.reporting.live import LiveTable
    from orchestrator.reporting.summary import print_summary

    console = _console(stderr=as_json)
    with _libraries_off_stdout(as_json), LiveTable(console) as table:
        result = run_sweep(
            spec,
            ray_address=ray,
            record=record,
            fresh=fresh,
            where=str(file),
            observer=table.show,
            say=_speaker(console),
        )
    print_summary(result, console)
    if as_json:
        _print_json(result.as_dict())
    if result.status == "interrupted":
        console.print("Interrupted; run the same command to go on.", style="bold yellow")
        raise typer.Exit(130)


@app.command(epilog="Example: orchestrate schema > sweep.schema.json")
def schema() -> None:
    """Print the JSON Schema of the sweep file, for editors."""
    from orchestrator.spec.schema import sweep_schema

    _print_json(sweep_schema())


def main() -> None:
    """Entry point of the ``orchestrate`` command: one clear message and the right exit code for every error."""
    try:
        app(standalone_mode=True)
    except OrchestratorError as error:
        Console(stderr=True).print(f"[bold red]error[/]  {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _load(
    file: Path,
    overrides: list[str] | None,
    storage: Path | None,
    trials: int | None = None,
    tracking_uri: str | None = None,
) -> Any:
    # Not by way of the interface: a wrong sweep file is told at once, before torch and Ray are imported.
    from orchestrator.spec.loading import load_sweep

    texts = list(overrides or [])
    if storage is not None:
        texts.append(f"storage={json.dumps(str(storage))}")
    if trials is not None:
        texts.append(f"budget.trials={trials}")
    if tracking_uri is not None:
        texts.append(f"tracking.uri={json.dumps(tracking_uri)}")
    return load_sweep(file, texts)


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    # Into a file or pipe there is no width to keep to, and cut-off tables would be of no use.
    return console if console.is_terminal else Console(stderr=stderr, width=200)


def _libraries_off_stdout(as_json: bool) -> AbstractContextManager[Any]:
    """Ray prints what befell a worker on standard output, where a program expects one JSON object and no more."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def _speaker(console: Console) -> Any:
    return lambda text: console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


def _print_json(values: Any) -> None:
    sys.stdout.write(json.dumps(values, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
