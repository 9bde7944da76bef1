"""Kind ``local``: Ray on this machine."""

from __future__ import annotations

from orchestrator.spec.clusters.profile import ClusterProfile


class LocalProfile(ClusterProfile):
    """Ray on this machine, started for the sweep and stopped with it."""

    kind: str = "local"
