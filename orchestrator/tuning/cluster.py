"""Joining or starting Ray, safely: own clusters listen on loopback, and an address that does not answer is an error."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import AuthenticationError

from orchestrator.errors import ClusterError
from orchestrator.spec.cluster import ClusterProfile
from orchestrator.spec.sweep import Resources
from orchestrator.storage.capacity import Capacity
from orchestrator.tuning.ray_internals import check_ray, running_cluster, use_auth_token_if_present

CONNECT_SECONDS = 5.0

# Set before Ray and Tune start; each line says what would happen without it.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no phoning home
    "RAY_DEDUP_LOGS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of the user stay valid inside workers
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # three loggers would write every result to three files
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's handler stops trials without saving them
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the journal is ours; Tune's state file is rewritten whole each time
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def connected(profile: ClusterProfile, resources: Resources, planned_trials: int) -> Iterator[Capacity]:
    """Start or join Ray for the length of the block.

    Raises:
        ClusterError: If the installed Ray is not one that was tested, the address does not answer, or the cluster cannot
            hold a single trial.
    """
    check_ray()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Tune's own state file is never read back; a full disk is told once, by the journal.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    _connect(profile)
    try:
        yield _capacity(profile, resources, planned_trials)
    finally:
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


def _connect(profile: ClusterProfile) -> None:
    if ray.is_initialized():
        ray.shutdown()
    if profile.kind == "existing":
        assert profile.address is not None
        _join(profile.address)
        return
    ray.init(
        address="local",
        num_cpus=profile.cpus,
        num_gpus=profile.gpus,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        configure_logging=True,
    )


def _join(address: str) -> None:
    check_address(address)
    if is_this_machine(address):
        use_auth_token_if_present()
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            "--ray",
            value=address,
            rule=f"Ray cannot join this cluster ({error})",
            mend="if it asks for a token (`ray start` does wherever one exists), set RAY_AUTH_MODE=token and name the "
            "cluster's token with RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; check also that it runs the Ray version "
            f"installed here, {ray.__version__}",
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


def _capacity(profile: ClusterProfile, resources: Resources, planned_trials: int) -> Capacity:
    total = ray.cluster_resources()
    cpus, gpus = float(total.get("CPU", 0)), float(total.get("GPU", 0))
    fits = [cpus / resources.cpu]
    if resources.gpu:
        fits.append(gpus / resources.gpu)
    if resources.memory_gib:
        fits.append(float(total.get("memory", 0)) / (resources.memory_gib * 2**30))
    slots = math.floor(min(fits) + 1e-9)
    if slots < 1:
        asked = f"{resources.cpu:g} CPU, {resources.gpu:g} GPU" + (
            f", {resources.memory_gib:g} GiB" if resources.memory_gib else ""
        )
        raise ClusterError(
            "cluster",
            "resources",
            asked,
            f"the cluster cannot hold one trial (it has {cpus:g} CPU, {gpus:g} GPU)",
            "lower resources, or use a larger cluster",
        )
    slots = min(slots, resources.concurrency or slots, planned_trials)
    return Capacity(cpus, gpus, slots, profile.address or "local")
