"""``export`` and ``rerun``: a trained trial as a Hugging Face folder, and trained once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.cli.options import JsonOption, StorageOption, SweepArgument, find_folder, storage_or_default
from orchestrator.cli.output import libraries_off_stdout, make_console, print_json, speaker
from orchestrator.errors import InputError

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate export quickstart --to best-model --merge")
def export(
    sweep: SweepArgument,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", help="Folder to write; must not exist or be empty.", show_default=False),
    ],
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="TRIAL", help="Id or name of a trial; default: the winner.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Fold an adapter into the base model's weights.")] = False,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option("--dtype", metavar="TYPE", help="Type of the weights; auto: as base and adapter have it."),
    ] = "auto",
    register: Annotated[
        str | None,
        typer.Option("--register", metavar="NAME", help="Also register it in MLflow under this name (whole models)."),
    ] = None,
    storage: StorageOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an exported model that is in DIR.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="DIR", help="Take the weights from here, e.g. from rerun --keep."),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not read the files back and compare what they compute.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a sweep's winner (or another trial) as a Hugging Face folder: whole model, adapter, or merged."""
    from orchestrator.api import export_trial

    console = make_console(stderr=as_json)
    folder = find_folder(sweep, storage)
    with libraries_off_stdout(as_json):
        result = export_trial(
            folder,
            to,
            trial=trial,
            merge=merge,
            dtype=dtype,
            force=force,
            check=not no_check,
            register=register,
            checkpoint=checkpoint,
        )
    if as_json:
        print_json(result.as_dict())
        return
    say = speaker(console)
    console.print(
        f"{result.name} ({result.trial_id}) as {_FORMS[result.form]}: {result.folder}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if result.form == "own":
        say(f"{result.bytes / 1e6:,.1f} MB: {', '.join(result.files)}")
        return
    say(f"{result.parameters:,} numbers in {result.dtype}, {result.bytes / 1e6:,.1f} MB: {', '.join(result.files)}")
    if result.converted:
        say("The adapter was rewritten as a lora of twice the rank, so that it fits the untouched base model.")
    if result.difference is not None:
        say(
            f"Read back with plain {result.library}: logits within {result.difference:.1g} of the trial's, relative to their size."
        )
    if result.form == "adapter" and not result.plain_lora:
        say("Servers that take plain lora alone, such as vLLM, need it merged (--merge, where the method merges).")
    if result.model_version:
        say(f"Registered in MLflow: {register} version {result.model_version} (LoggedModel {result.model_id}).")


_FORMS = {
    "model": "a whole model",
    "adapter": "a peft adapter",
    "merged": "a whole model, merged",
    "own": "the checkpoint that its code saved",
}


@commands.command(epilog="Example: orchestrate rerun quickstart 566fa32096 --storage runs")
def rerun(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[SWEEP] TRIAL",
            help="A sweep (name or folder) and a trial of it (id or name); a trial alone is looked for in all sweeps.",
            show_default=False,
        ),
    ],
    storage: StorageOption = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep the new checkpoint here, e.g. for export --checkpoint."),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:1.")] = "auto",
    rounding: Annotated[
        float, typer.Option("--rounding", metavar="X", min=0.0, help="Relative difference that counts as rounding.")
    ] = 1e-3,
    as_json: JsonOption = False,
) -> None:
    """Train a trial's recipe again from its capsule and say whether data, code, versions and result are the same."""
    if len(words) > 2:
        raise InputError(
            "rerun", value=" ".join(words), rule="takes a sweep and a trial", mend="quote names with spaces"
        )
    from orchestrator.api import find_trial_sweep, rerun_trial
    from orchestrator.reporting.terminal.rerun import print_rerun

    console = make_console(stderr=as_json)
    trial = words[-1]
    folder = find_folder(words[0], storage) if len(words) == 2 else find_trial_sweep(trial, storage_or_default(storage))
    with libraries_off_stdout(as_json):
        result = rerun_trial(folder, trial, keep=keep, device=device, rounding=rounding, say=speaker(console))
    if as_json:
        print_json(result.as_dict())
    else:
        print_rerun(result.as_dict(), console)
    if result.verdict == "different":
        raise typer.Exit(1)
