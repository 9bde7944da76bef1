"""``evaluate``: scores of checkpoints, beside or after the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import JsonOption, SetOption, StorageOption, SweepArgument, find_folder
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker
from orchestrator.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.api.evaluate.evaluate import EvaluationResult

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate evaluate quickstart --best 3 --tasks arc_easy,gsm8k --limit 200")
def evaluate(
    sweep: SweepArgument,
    trial: Annotated[
        list[str] | None,
        typer.Option("--trial", metavar="TRIAL", help="Id or name of a trial; default: the winner. Repeatable."),
    ] = None,
    best: Annotated[int | None, typer.Option("--best", metavar="N", min=1, help="The N best trials.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every trial that has a checkpoint.")] = False,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="A,B", help="Tasks of lm-eval, e.g. mmlu,gsm8k.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Documents of each task.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", metavar="N", min=0, help="Solved examples in the tasks' prompts.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Take the evaluation sets from this sweep file."),
    ] = None,
    overrides: SetOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay beside a running sweep and score each trial once it has ended.")
    ] = False,
    no_base: Annotated[bool, typer.Option("--no-base", help="Do not score the base model as well.")] = False,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", min=1, help="Threads of torch; default: torch's own.")
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score checkpoints of a finished or running sweep, on its own or other evaluation sets (--set evaluation=[...])."""
    from orchestrator.api import evaluate_sweep

    console = make_console(stderr=as_json)
    folder = find_folder(sweep, storage)
    sets = _sets(file, overrides)
    with libraries_off_stdout(as_json):
        result = evaluate_sweep(
            folder,
            trials=trial or (),
            best=best,
            every=every,
            sets=sets,
            tasks=[name.strip() for name in (tasks or "").split(",") if name.strip()],
            limit=limit,
            num_fewshot=num_fewshot,
            base=not no_base,
            follow=follow,
            device=device,
            threads=threads,
            say=speaker(console),
        )
    if as_json:
        print_json(result.as_dict())
    else:
        _print(result, console)


def _print(result: EvaluationResult, console: Console) -> None:
    from orchestrator.reporting.terminal.scores import print_scores

    print_scores(result.as_dict(), console)


def _sets(file: Path | None, overrides: list[str] | None) -> list[dict[str, object]] | None:
    """Return the evaluation sets of a file or an override; None where neither is given.

    Raises:
        InputError: If there is no such list.
    """
    from orchestrator.spec.loading import apply_override
    from orchestrator.spec.reading.yaml_text import read_yaml

    values: dict[str, object] = {}
    if file is not None:
        values = read_yaml(file)[0]
        if "evaluation" not in values:
            raise InputError(str(file), "evaluation", rule="the file names no evaluation sets")
    for text in overrides or ():
        if apply_override(values, text)[0] != "evaluation":
            raise InputError(
                "--set", value=text, rule="only the evaluation sets can be set here", mend="--set 'evaluation=[...]'"
            )
    if not values:
        return None
    found = values["evaluation"]
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InputError(
            "--set", "evaluation", found, "must be a list of evaluation sets", "e.g. [{name: quiz, kind: loss}]"
        )
    return found
