"""``reproduce``: published guidance, tested again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import JsonOption, RayOption, StorageOption, TrackingOption
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker
from orchestrator.errors import InputError

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate reproduce secret-recipe --scale smoke --findings F3,F4")
def reproduce(
    guidance: Annotated[
        str, typer.Argument(metavar="GUIDANCE", help="What is tested: secret-recipe (arXiv 2412.13337).")
    ],
    scale: Annotated[
        str,
        typer.Option(
            "--scale", metavar="SCALE", help="mini (two CPU cores), gpu, paper, or smoke (minutes, no verdicts)."
        ),
    ] = "mini",
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="PATH", help="Base model of your own; a second one for F7.")
    ] = None,
    data: Annotated[str, typer.Option("--data", metavar="PATH", help="Training data of your own.")] = "",
    general_text: Annotated[
        str, typer.Option("--general-text", metavar="PATH", help="Text by which forgetting is measured, with --data.")
    ] = "",
    findings: Annotated[str, typer.Option("--findings", metavar="F1,F2", help="Findings; default: all.")] = "",
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help="Seeds of each configuration; default: the design's."),
    ] = None,
    baseline_rate: Annotated[
        float | None,
        typer.Option(
            "--baseline-rate", metavar="RATE", help="Learning rate that stands for the paper's 2e-5; default: found."
        ),
    ] = None,
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PLACE", help="A folder, or a file that ends in .html or .md; default: in the storage."
        ),
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Train nothing; judge what is there.")] = False,
    ray: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the sweeps of published guidance as far as they are missing, and write which findings were reproduced."""
    # Told at once, before torch and Ray are imported.
    from orchestrator.api.reproduction.options import check_guidance, check_options, checked_findings, checked_scale

    check_guidance(guidance)
    names, models = _names(findings), model or ()
    check_options(checked_scale(scale, models, data), data, general_text, baseline_rate)
    checked_findings(names, seeds, models, data)
    from orchestrator.api.reproduction.reproduction import reproduce
    from orchestrator.reporting.findings.pages.table import print_findings
    from orchestrator.reporting.terminal.live import LiveTable

    console = make_console(stderr=as_json)
    with libraries_off_stdout(as_json), LiveTable(console) as table:
        outcome = reproduce(
            scale,
            models=models,
            data=data,
            general_text=general_text,
            findings=names,
            seeds=seeds,
            baseline_rate=baseline_rate,
            storage=storage,
            out=out,
            tracking_uri=tracking_uri,
            report_only=report_only,
            ray_address=ray,
            observer=table.show,
            say=speaker(console),
        )
    print_findings(outcome.facts, console)
    for file in filter(None, (outcome.page, outcome.markdown)):
        console.print(f"Report  {file}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(outcome.as_dict())
    if outcome.interrupted:
        console.print("Interrupted; run the same command to go on.", style="bold yellow")
        raise typer.Exit(130)


def _names(text: str) -> list[str]:
    """Return the findings that an option names."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if text and not names:
        raise InputError("--findings", value=text, rule="names no finding", mend="e.g. F1,F2; leave it out for all")
    return names
