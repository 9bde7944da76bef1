"""What a kind of cluster does, and the one that a profile asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from orchestrator.lazy_names import load
from orchestrator.spec.clusters.profile import ClusterProfile


class Cluster(Protocol):
    """A cluster that a sweep may use. It is made from its profile, and nothing happens by that."""

    def check(self) -> None:
        """Raise where it can be told beforehand that it does not start; starts and writes nothing.

        Raises:
            ClusterError: With the field, its value and the mend.
        """

    def start(self) -> None:
        """Start Ray, or join it: afterwards this process is its driver.

        Raises:
            ClusterError: As `check`.
        """

    def stop(self) -> None:
        """Leave Ray, and end what `start` has started."""


def make_cluster(profile: ClusterProfile) -> Cluster:
    """Return the cluster of a profile."""
    return cast(Callable[[ClusterProfile], Cluster], load(profile.about.cluster))(profile)
