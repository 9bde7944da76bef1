"""``record-export``, ``replay`` and ``fit-forecast``: recorded sweeps and what stopping rules make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.cli.options import ForceOption, JsonOption, StorageOption, SweepArgument, storage_or_default
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker
from orchestrator.errors import StorageError

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate record-export quickstart-recorded --out quickstart.jsonl.gz")
def record_export(
    sweep: SweepArgument,
    storage: StorageOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="File to write, compressed if it ends in .gz; default: NAME.jsonl.gz."
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a sweep that stopped nothing (run with --record, or with its rules off) as a file of recorded trials."""
    from orchestrator.storage.sweep_folder import find_sweep

    folder = find_sweep(sweep, storage_or_default(storage))
    file = out or Path(f"{folder.name}.jsonl.gz")
    if file.exists() and not force:
        raise StorageError("--out", value=str(file), rule="this file exists", mend="choose another, or add --force")
    from orchestrator.api import export_recorded
    from orchestrator.simulation.recorded.files import write_recorded

    console = make_console(stderr=as_json)
    recorded = export_recorded(folder, speaker(console))
    write_recorded(recorded, file)
    size, trials = file.stat().st_size, len(recorded.trials)
    if as_json:
        print_json({"file": str(file), "sweep": recorded.name, "trials": trials, "bytes": size})
    else:
        speaker(console)(f"{trials} trials of sweep {recorded.name}: {file} ({size:,} bytes)")


@commands.command(
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
    from orchestrator.reporting.replay.page import check_page_place, write_replay_page
    from orchestrator.reporting.replay.table import ReplayProgress, print_replay
    from orchestrator.simulation.engine.simulator import Clock
    from orchestrator.simulation.replay_files import SHIPPED, replay_recorded

    if html is not None:
        check_page_place(html)
    with libraries_off_stdout(as_json), ReplayProgress(make_console(stderr=True)) as progress:
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
        print_json(report.as_dict())
    else:
        print_replay(report, make_console())


@commands.command(epilog="Example: orchestrate fit-forecast shipped mine.jsonl.gz --past --out forecast.npz")
def fit_forecast(
    recorded: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDED",
            help="Files of record-export, and the word shipped for those of the package.",
            show_default=False,
        ),
    ],
    past: Annotated[
        bool,
        typer.Option("--past", help="Learn from every complete sweep in the storage that stopped nothing, too."),
    ] = False,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            metavar="URI",
            help="Learn from the sweeps of an MLflow server or store, too, all of whose trials were trained to their ends.",
        ),
    ] = None,
    storage: StorageOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")] = Path("forecast.npz"),
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit the forecast that stops trials on recorded sweeps: the shipped ones, your own, or both."""
    if out.exists() and not force:
        raise StorageError("--out", value=str(out), rule="this file exists", mend="choose another, or add --force")
    from orchestrator.simulation.replay_files import fit_forecast_files
    from orchestrator.spec.sweep import SweepSpec

    console = make_console(stderr=as_json)
    own = []
    if past:
        from orchestrator.api.recorded.record_export import past_recorded

        own = past_recorded(storage or Path(SweepSpec.model_fields["storage"].default), speaker(console))
    if tracking_uri is not None:
        from orchestrator.api.recorded.from_mlflow import tracked_recorded

        known = {sweep.name for sweep in own}
        own += [sweep for sweep in tracked_recorded(tracking_uri, speaker(console)) if sweep.name not in known]
    model = fit_forecast_files(recorded, out, own)
    if as_json:
        print_json({"file": str(out), "sweeps": list(model.sweeps)})
    else:
        speaker(console)(f"Fitted on {len(model.sweeps)} sweeps: {out}; use it with stopping.forecast.weights")


@commands.command(epilog="Example: orchestrate score-forecast shipped --leave-one-out --objective general/loss")
def score_forecast(
    recorded: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECORDED",
            help="Files of record-export, or the word shipped for those that come with the package (default).",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", metavar="METRIC", help="Metric to forecast. Repeatable; default: eval/loss."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights of fit-forecast; default: the shipped ones."),
    ] = None,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Forecast each sweep by weights fitted on the others alone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score the forecast's values, bands and probabilities against what recorded sweeps really ended at."""
    from orchestrator.decisions.forecast.model import SHIPPED_WEIGHTS
    from orchestrator.reporting.terminal.calibration import print_calibration
    from orchestrator.simulation.replay_files import SHIPPED, score_forecast

    scores = score_forecast(
        recorded or [SHIPPED],
        metrics=objective or ["eval/loss"],
        weights=weights or SHIPPED_WEIGHTS,
        leave_one_out=leave_one_out,
    )
    if as_json:
        print_json(scores.as_dict())
    else:
        print_calibration(scores, make_console())
