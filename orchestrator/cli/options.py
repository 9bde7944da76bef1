"""Arguments and options that several commands share, and the loading of a sweep file with its overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.progress import Say, silent

if TYPE_CHECKING:
    from orchestrator.spec.sweep import SweepSpec
    from orchestrator.storage.sweep_folder import SweepFolder

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Sweep file (YAML), or the name of one that comes with the package.", show_default=False
    ),
]
SweepArgument = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Name of a sweep in the storage, or its folder.", show_default=False)
]
OptionalSweep = Annotated[
    str | None,
    typer.Argument(metavar="[SWEEP]", help="Name of a sweep in the storage, or its folder.", show_default=False),
]
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
TrackingOption = Annotated[
    str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow tracking server or store.")
]
TrialsOption = Annotated[int | None, typer.Option("--trials", metavar="N", min=1, help="Number of trials.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


def load_file(
    file: Path,
    overrides: list[str] | None,
    storage: Path | None,
    trials: int | None = None,
    tracking_uri: str | None = None,
    say: Say = silent,
) -> SweepSpec:
    """Read a sweep file with the overrides of the command line; ``say`` is told of code that it names before it is run.

    Raises:
        SpecError: If the file or an override is wrong.
    """
    # Not by way of the interface: a wrong sweep file is told at once, before torch and Ray are imported.
    from orchestrator.spec.loading import load_sweep

    texts = list(overrides or [])
    if storage is not None:
        texts.append(f"storage={json.dumps(str(storage))}")
    if trials is not None:
        texts.append(f"budget.trials={trials}")
    if tracking_uri is not None:
        texts.append(f"tracking.uri={json.dumps(tracking_uri)}")
    return load_sweep(file, texts, say)


def storage_or_default(storage: Path | None) -> Path:
    """Return the storage folder of the command line, or the one that a sweep file has by default."""
    if storage is not None:
        return storage
    from orchestrator.spec.sweep import SweepSpec

    return Path(SweepSpec.model_fields["storage"].default)


def find_folder(sweep: str | None, storage: Path | None) -> SweepFolder:
    """Return the folder of a sweep by name or path; without one, of the sweep that runs or ran last.

    Raises:
        StorageError: If there is none; names the nearest.
    """
    from orchestrator.storage.sweep_folder import find_sweep, latest_sweep

    place = storage_or_default(storage)
    return latest_sweep(place) if sweep is None else find_sweep(sweep, place)
