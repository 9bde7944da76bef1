"""Cluster profiles: where Ray runs. ``clusters/local.yaml`` starts Ray here, ``existing.yaml`` joins an address."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.errors import SpecError, nearest
from orchestrator.spec.loading import read_yaml

PROFILE_FOLDERS = (Path("clusters"), Path(__file__).resolve().parents[2] / "clusters")


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
    if name == "local":
        return ClusterProfile(kind="local")
    file = _find(name)
    values, _ = read_yaml(file)
    try:
        return ClusterProfile.model_validate(values)
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(map(str, detail["loc"]))
        mend = nearest(field, ClusterProfile.model_fields) if detail["type"] == "extra_forbidden" else ""
        raise SpecError(str(file), field, detail["input"] if field else None, detail["msg"], mend) from None


def _find(name: str) -> Path:
    candidates = [Path(name), *(folder / f"{name}.yaml" for folder in PROFILE_FOLDERS)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted({path.stem for folder in PROFILE_FOLDERS for path in folder.glob("*.yaml")})
    raise SpecError("cluster", value=name, rule="there is no such cluster profile",
                    mend=nearest(name, known) or f"known: {', '.join(known)}, or give a file")  # fmt: skip
