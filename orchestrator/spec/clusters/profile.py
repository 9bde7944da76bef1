"""What all cluster profiles have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.spec.clusters.kinds import CLUSTERS, ClusterKind
from orchestrator.spec.reading.names import OneOf


class ClusterProfile(BaseModel):
    """How to reach (or start) Ray."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[str, OneOf(CLUSTERS)] = Field(
        description="local starts Ray on this machine; existing joins a cluster."
    )
    address: str | None = Field(default=None, description="Ray address (HOST:PORT or auto) of an existing cluster.")
    cpus: int | None = Field(default=None, ge=1, description="CPU cores that a local Ray offers; default: all.")
    gpus: int | None = Field(default=None, ge=0, description="GPUs that a local Ray offers; default: all.")

    @property
    def about(self) -> ClusterKind:
        """The entry of its kind."""
        return CLUSTERS[self.kind]
