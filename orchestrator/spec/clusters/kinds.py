"""The table of cluster kinds. A kind is one entry here, its profile's fields beside it, and one file in `orchestrator.tuning.clusters`."""

from __future__ import annotations

from dataclasses import dataclass

_PROFILES, _CLUSTERS = "orchestrator.spec.clusters", "orchestrator.tuning.clusters"


@dataclass(frozen=True)
class ClusterKind:
    """One kind of cluster. The rest of the program asks the entry, never for a kind's name.

    Attributes:
        summary: What it is.
        profile: Its profile, ``module:CLASS`` (a `ClusterProfile` with its own fields and rules), imported at its first use.
        cluster: What starts or joins it, ``module:CLASS``: takes the profile, is a `Cluster` of `orchestrator.tuning.clusters`.
        greeting: What is said while it starts.
        on_this_machine: Trials run here, so that they must fit the memory of this machine.
    """

    summary: str
    profile: str
    cluster: str
    greeting: str
    on_this_machine: bool = False


CLUSTERS: dict[str, ClusterKind] = {
    "local": ClusterKind(
        "Ray on this machine, started for the sweep and stopped with it",
        profile=f"{_PROFILES}.local:LocalProfile",
        cluster=f"{_CLUSTERS}.local:LocalCluster",
        greeting="Starting Ray ...",
        on_this_machine=True,
    ),
    "existing": ClusterKind(
        "a Ray cluster that is already up",
        profile=f"{_PROFILES}.existing:ExistingProfile",
        cluster=f"{_CLUSTERS}.existing:ExistingCluster",
        greeting="Joining Ray ...",
    ),
}
"""Every name of a kind is looked up here; `ClusterProfile` has checked it."""
