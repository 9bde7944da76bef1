"""``recommend``: a search space to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import ForceOption, JsonOption, SetOption, StorageOption, TrackingOption
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker
from orchestrator.errors import InputError

commands = typer.Typer()


@commands.command(
    epilog="Example: orchestrate recommend --model testbed --data testbed:sft --budget 24-trials --out mine.yaml"
)
def recommend(
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Folder, hub id, or testbed; no weights are read.")
    ],
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="Training data, as data.train of a sweep file.")],
    budget: Annotated[
        str,
        typer.Option("--budget", metavar="BUDGET", help="What it may spend: 24-trials, 200k-samples or 90-minutes."),
    ],
    objective: Annotated[
        str, typer.Option("--objective", metavar="KIND", help="loss, downstream or forgetting.")
    ] = "loss",
    task: Annotated[
        str, typer.Option("--task", metavar="DATA", help="Rows of the task, for the objective downstream.")
    ] = "",
    text: Annotated[
        str, typer.Option("--text", metavar="DATA", help="General text, for the objective forgetting.")
    ] = "",
    method: Annotated[
        list[str] | None, typer.Option("--method", metavar="METHOD", help="A method to search. Repeatable.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", min=1, help="Samples of a trial; default: chosen.")
    ] = None,
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the sweep file here; default: print it.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a ready sweep file for a model, data and a budget, with the reason and source of every choice."""
    _check_source(objective, task, text)
    from orchestrator.api.recommend.recommend import recommend_search_space, write_recommendation
    from orchestrator.reporting.terminal.recommendation import print_recommendation

    with libraries_off_stdout(as_json):
        found = recommend_search_space(
            model,
            data,
            budget,
            objective=objective,
            source=task or text,
            methods=method or (),
            samples=samples,
            storage=storage,
            tracking_uri=tracking_uri,
            overrides=set_ or (),
        )
    if out is not None:
        write_recommendation(found, out, force)
    if as_json:
        print_json({**found.as_dict(), "yaml": found.yaml, "file": None if out is None else str(out)})
    elif out is None:
        print(found.yaml, end="")
    else:
        console = make_console()
        print_recommendation(found, console)
        speaker(console)(f"Wrote {out}; look at it with: orchestrate plan {out}")


def _check_source(objective: str, task: str, text: str) -> None:
    """Refuse rows or text that the objective would not look at."""
    for option, value, needed in (("--task", task, "downstream"), ("--text", text, "forgetting")):
        if value and objective != needed:
            raise InputError(
                option,
                value=value,
                rule=f"is used with --objective {needed} only",
                mend=f"add --objective {needed}, or leave it out",
            )
