"""``methods`` and ``doctor``: what this package offers, and what this machine lacks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from orchestrator.cli.options import JsonOption, RayOption, StorageOption, TrackingOption, storage_or_default
from orchestrator.cli.output import make_console, print_json, speaker

commands = typer.Typer()


@commands.command(epilog="Example: orchestrate methods lora")
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A method, to see its options.", show_default=False)
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", metavar="FAMILY", help="Only this family, e.g. low_rank.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the fine-tuning methods by family with their learning rates, or one method with its options."""
    from orchestrator.api import list_methods, method_info
    from orchestrator.reporting.terminal.methods import print_method, print_methods
    from orchestrator.spec.methods.entries import EXCLUDED

    if name is not None:
        info = method_info(name, "methods")
        if as_json:
            print_json(asdict(info, dict_factory=_without_descriptions))
        else:
            print_method(info, make_console())
        return
    found = list_methods(family)
    if as_json:
        rows = [{key: value for key, value in asdict(info).items() if key != "options"} for info in found]
        print_json({"methods": rows, "not_offered": EXCLUDED})
    else:
        print_methods(found, EXCLUDED if family is None else {}, make_console())


@commands.command(epilog="Example: orchestrate doctor --storage runs")
def doctor(
    storage: StorageOption = None,
    ray: RayOption = None,
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine (packages, torch, GPUs, Ray, MLflow, disk, memory, limits) and say how to mend it."""
    from orchestrator.api import examine_machine
    from orchestrator.reporting.terminal.doctor import print_diagnosis

    console = make_console(stderr=as_json)
    speaker(console)("Starting Ray and MLflow for a moment ...")
    diagnosis = examine_machine(storage_or_default(storage), ray, tracking_uri)
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        print_diagnosis(diagnosis.as_dict(), console)
    if not diagnosis.healthy:
        raise typer.Exit(1)


def _without_descriptions(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Leave out what the options of this package say of themselves: those of peft have no such text."""
    return {name: value for name, value in pairs if name != "description"}
