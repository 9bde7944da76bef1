"""The command line. Parses first and imports later, so that ``--help`` and a wrong word answer at once."""

from __future__ import annotations

import contextlib
import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.errors import OrchestratorError, StorageError

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


@app.command(epilog="Example: orchestrate record-export quickstart-recorded --out quickstart.jsonl.gz")
def record_export(
    sweep: Annotated[
        str,
        typer.Argument(metavar="SWEEP", help="Name of a sweep in the storage, or its folder.", show_default=False),
    ],
    storage: StorageOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="File to write, compressed if it ends in .gz; default: NAME.jsonl.gz."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a sweep that was run with --record as a file of recorded trials."""
    from orchestrator.spec.sweep import SweepSpec
    from orchestrator.tuning.layout import find_sweep

    folder = find_sweep(sweep, storage or Path(SweepSpec.model_fields["storage"].default))
    file = out or Path(f"{folder.name}.jsonl.gz")
    if file.exists() and not force:
        raise StorageError("--out", value=str(file), rule="this file exists", mend="choose another, or add --force")
    from orchestrator.api import export_recorded
    from orchestrator.simulation.files import write_recorded

    console = _console(stderr=as_json)
    recorded = export_recorded(folder, _speaker(console))
    write_recorded(recorded, file)
    size, trials = file.stat().st_size, len(recorded.trials)
    if as_json:
        _print_json({"file": str(file), "sweep": recorded.name, "trials": trials, "bytes": size})
    else:
        _speaker(console)(f"{trials} trials of sweep {recorded.name}: {file} ({size:,} bytes)")


@app.command(
    epilog="Example: orchestrate replay quickstart.jsonl.gz --objective eval/loss --rules ours,ray --workers 8"
)
def replay(
    recorded: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECORDED",
            help="Files of record-export, or the word shipped for those that come with the package (default).",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", metavar="METRIC", help="Metric that defines best.")
    ] = "eval/loss",
    mode: Annotated[
        Literal["min", "max"], typer.Option("--mode", metavar="MODE", help="min or max: whether low or high is best.")
    ] = "min",
    rules: Annotated[
        str, typer.Option("--rules", metavar="NAME,...", help="Rules, families or groups of them, or all.")
    ] = "all",
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Trials that train at once.")] = 1,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=1, help="Random orders of the trials.")] = 20,
    startup: Annotated[
        float, typer.Option("--startup", metavar="S", min=0, help="Seconds to start or resume a trial.")
    ] = 0.0,
    evaluation: Annotated[
        float, typer.Option("--evaluation", metavar="S", min=0, help="Seconds of one evaluation.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the orders.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Processes.")] = 1,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Give our forecast, for each sweep, weights fitted on the others alone."),
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with the trade-off curve.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay recorded sweeps under stopping rules: ours, plain baselines, and the code of Ray Tune, Optuna and Syne Tune."""
    # Not by way of the interface: a replay needs neither torch nor, unless its rules are asked for, Ray.
    from orchestrator.reporting.replay_page import check_page_place, write_replay_page
    from orchestrator.reporting.replay_table import ReplayProgress, print_replay
    from orchestrator.simulation.replay_files import SHIPPED, replay_recorded
    from orchestrator.simulation.simulator import Clock

    if html is not None:
        check_page_place(html)
    with _libraries_off_stdout(as_json), ReplayProgress(_console(stderr=True)) as progress:
        report = replay_recorded(
            recorded or [SHIPPED],
            objective=objective,
            mode=mode,
            rules=[word.strip() for word in rules.split(",") if word.strip()],
            clock=Clock(workers, startup, evaluation),
            draws=draws,
            seed=seed,
            jobs=jobs,
            leave_one_out=leave_one_out,
            observer=progress.show,
        )
    if html is not None:
        write_replay_page(report, html)
    if as_json:
        _print_json(report.as_dict())
    else:
        print_replay(report, _console())


@app.command(epilog="Example: orchestrate fit-forecast shipped mine.jsonl.gz --out forecast.json")
def fit_forecast(
    recorded: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDED",
            help="Files of record-export, and the word shipped for those of the package.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")] = Path("forecast.json"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fit the forecast that stops trials on recorded sweeps: the shipped ones, your own, or both."""
    if out.exists() and not force:
        raise StorageError("--out", value=str(out), rule="this file exists", mend="choose another, or add --force")
    from orchestrator.simulation.replay_files import fit_forecast_files

    model = fit_forecast_files(recorded, out)
    if as_json:
        _print_json({"file": str(out), "sweeps": list(model.sweeps)})
    else:
        _speaker(_console())(f"Fitted on {len(model.sweeps)} sweeps: {out}; use it with stopping.forecast.weights")


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
