"""Kind ``existing``: joining a Ray cluster that is already up; an address that does not answer is an error."""

from __future__ import annotations

import logging
import socket

import ray
from ray.exceptions import AuthenticationError

from orchestrator.errors import ClusterError
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.tuning.ray_internals import running_cluster, use_auth_token_if_present

CONNECT_SECONDS = 5.0


class ExistingCluster:
    """A Ray cluster that is already up. See `Cluster`."""

    def __init__(self, profile: ClusterProfile) -> None:
        assert profile.address is not None, "the profile was checked"
        self._address = profile.address

    def check(self) -> None:
        """See `Cluster.check`; something must listen at the address."""
        check_address(self._address)

    def start(self) -> None:
        """See `Cluster.start`."""
        check_address(self._address)
        if is_this_machine(self._address):
            use_auth_token_if_present()
        try:
            ray.init(address=self._address, logging_level=logging.ERROR, log_to_driver=False)
        except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(
                "--ray",
                value=self._address,
                rule=f"Ray cannot join this cluster ({error})",
                mend="if it asks for a token (`ray start` does wherever one exists), set RAY_AUTH_MODE=token and name the "
                "cluster's token with RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; check also that it runs the Ray version "
                f"installed here, {ray.__version__}",
            ) from error

    def stop(self) -> None:
        """See `Cluster.stop`; the cluster stays up."""
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise unless something listens at an explicit HOST:PORT; starts and writes nothing.

    Raises:
        ClusterError: With the address and the mend.
    """
    if address == "auto":
        if running_cluster() is None:
            raise ClusterError(
                "--ray",
                value=address,
                rule="no Ray cluster runs on this machine",
                mend="start one with 'ray start --head', or leave --ray out",
            )
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError("--ray", value=address, rule="a Ray address is HOST:PORT or auto", mend="e.g. 10.0.0.5:6379")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            "--ray",
            value=address,
            rule=f"nothing answers at this address ({error})",
            mend="check that the head node is up and the port is right, or leave --ray out",
        ) from error


def is_this_machine(address: str) -> bool:
    """Tell whether a Ray address (HOST:PORT or auto) belongs to this machine: only then can a socket be bound to it."""
    if address == "auto":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(place)
    except OSError:
        return False
    return True
