"""Cluster profiles by name or file: ``clusters/local.yaml`` starts Ray here, ``existing.yaml`` joins an address."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import ValidationError

from orchestrator.errors import SpecError, nearest
from orchestrator.lazy_names import load
from orchestrator.spec.clusters.existing import ExistingProfile
from orchestrator.spec.clusters.kinds import CLUSTERS
from orchestrator.spec.clusters.local import LocalProfile
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.reading.complaints import Source, explain, refuse_booleans
from orchestrator.spec.reading.shipped import shipped_folder
from orchestrator.spec.reading.yaml_text import read_yaml

PROFILE_FOLDERS = (Path("clusters"), shipped_folder("clusters"))


def load_cluster(name: str, address: str | None = None) -> ClusterProfile:
    """Return a profile by name or file; ``address`` (from ``--ray``) wins over the profile.

    Raises:
        SpecError: If there is no such profile or its file is wrong.
    """
    if address is not None:
        return ExistingProfile(address=address)
    file = _find(name)
    if file is None:
        return LocalProfile()
    values, lines = read_yaml(file)
    source = Source(str(file), lines)
    model = _profile_class(values.get("kind"))
    refuse_booleans(values, model, source)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, source, model) from None


def _profile_class(kind: object) -> type[ClusterProfile]:
    """Return what a file of a kind is checked against; of an unknown kind, which is an error, what all have in common."""
    about = CLUSTERS.get(kind) if isinstance(kind, str) else None
    return ClusterProfile if about is None else cast(type[ClusterProfile], load(about.profile))


def _find(name: str) -> Path | None:
    """Return a profile's file; None for the profile ``local`` where no file describes it."""
    candidates = [*(folder / f"{name}.yaml" for folder in PROFILE_FOLDERS), Path(name)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if name == "local":
        return None
    known = sorted({"local", *(path.stem for folder in PROFILE_FOLDERS for path in folder.glob("*.yaml"))})
    raise SpecError(
        "",
        "cluster",
        name,
        "there is no such cluster profile",
        nearest(name, known) or f"known: {', '.join(known)}, or give a file",
    )
