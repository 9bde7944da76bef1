"""Kind ``local``: Ray on this machine, which listens on loopback alone."""

from __future__ import annotations

import logging

import ray

from orchestrator.spec.clusters.profile import ClusterProfile


class LocalCluster:
    """Ray on this machine. See `Cluster`."""

    def __init__(self, profile: ClusterProfile) -> None:
        self._profile = profile

    def check(self) -> None:
        """See `Cluster.check`; there is nothing that could be wrong."""

    def start(self) -> None:
        """See `Cluster.start`."""
        ray.init(
            address="local",
            num_cpus=self._profile.cpus,
            num_gpus=self._profile.gpus,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=True,
        )

    def stop(self) -> None:
        """See `Cluster.stop`."""
        ray.shutdown()
