"""Kind ``existing``: a Ray cluster that is already up."""

from __future__ import annotations

from pydantic import model_validator

from orchestrator.spec.clusters.profile import ClusterProfile


class ExistingProfile(ClusterProfile):
    """A Ray cluster that is already up."""

    kind: str = "existing"

    @model_validator(mode="after")
    def _address_where_needed(self) -> ExistingProfile:
        if not self.address:
            raise ValueError("an existing cluster needs an address; give one, or use --ray ADDRESS")
        return self
