"""Cluster profiles: where Ray runs. ``clusters/local.yaml`` starts Ray here, ``existing.yaml`` joins an address."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.errors import SpecError, nearest
from orchestrator.spec.reading.complaints import Source, explain, refuse_booleans
from orchestrator.spec.reading.shipped import shipped_folder
from orchestrator.spec.reading.yaml_text import read_yaml

PROFILE_FOLDERS = (Path("clusters"), shipped_folder("clusters"))


class ClusterProfile(BaseModel):
    """How to reach (or start) Ray."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "existing"] = Field(
        description="local starts Ray on this machine; existing joins a cluster."
    )
    address: str | None = Field(default=None, description="Ray address (HOST:PORT or auto) of an existing cluster.")
    cpus: int | None = Field(default=None, ge=1, description="CPU cores that a local Ray offers; default: all.")
    gpus: int | None = Field(default=None, ge=0, description="GPUs that a local Ray offers; default: all.")

    @model_validator(mode="after")
    def _address_where_needed(self) -> ClusterProfile:
        if self.kind == "existing" and not self.address:
            raise ValueError("an existing cluster needs an address; give one, or use --ray ADDRESS")
        return self


def load_cluster(name: str, address: str | None = None) -> ClusterProfile:
    """Return a profile by name or file; ``address`` (from ``--ray``) wins over the profile.

    Raises:
        SpecError: If there is no such profile or its file is wrong.
    """
    if address is not None:
        return ClusterProfile(kind="existing", address=address)
    file = _find(name)
    if file is None:
        return ClusterProfile(kind="local")
    values, lines = read_yaml(file)
    source = Source(str(file), lines)
    refuse_booleans(values, ClusterProfile, source)
    try:
        return ClusterProfile.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, source, ClusterProfile) from None


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
