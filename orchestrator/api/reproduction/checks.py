"""What is checked before a reproduction starts or writes anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import ModelError
from orchestrator.reporting.sweep_report.layout.files import report_places
from orchestrator.spec.sweep import SweepSpec
from orchestrator.storage.sweep_folder import check_storage
from orchestrator.tracking.trackers import check_tracker
from orchestrator.training.data.formats import convert_rows
from orchestrator.training.data.sources import load_texts, open_source
from orchestrator.training.model.hub import is_reachable
from orchestrator.training.model.load import find_model
from orchestrator.tuning.clusters.existing import check_address


def check_places(
    storage: Path, out: Path | str | None, tracking_uri: str | None, ray_address: str | None, report_only: bool
) -> None:
    """Check whatever sweeps and report are written to or run on, before the first base is pretrained.

    Raises:
        StorageError: If storage or report cannot be written.
        TrackingError: If MLflow cannot be reached.
        ClusterError: If nothing answers at the Ray address.
    """
    if out is not None:
        report_places(Path(out))
    if not report_only:
        check_storage(storage)
    if tracking_uri is not None:
        check_tracker(tracking_uri)
    if ray_address is not None and not report_only:
        check_address(ray_address)


def check_data(data: str, general_text: str) -> None:
    """Read data and text of the user's own as the sweeps will, so that a row that cannot be used is named where it stands.

    Raises:
        DataError: If they are missing, damaged, empty, or in a shape that is not known.
    """
    if data:
        rows, numbers = open_source(data).sample()
        convert_rows(rows, "auto", {}, "drop", data, numbers)
    if general_text:
        load_texts(open_source(general_text))


def check_inputs(specs: Mapping[str, SweepSpec]) -> None:
    """Check that weights and data of the paper's sweeps are there, before hours are spent.

    Raises:
        ModelError: If weights are neither on this machine nor to be had from the hub.
        DataError: If training data are missing.
    """
    for spec in specs.values():
        path = find_model(spec.model)
        if not Path(path).is_dir() and not _has_weights(path, spec.model.revision) and not is_reachable():
            raise ModelError(
                path,
                rule=f"sweep {spec.name} trains this base, whose weights are not on this machine, and the hub cannot be reached",
                mend="name a folder that holds them with --model, or run a smaller scale: --scale mini",
            )
        for source in (spec.data.train, *(phase.train for phase in spec.data.phases)):
            if source:
                open_source(source, spec.data.split)


def _has_weights(repository: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "model.safetensors.index.json")
    return any(isinstance(try_to_load_from_cache(repository, file, revision=revision), str) for file in files)
