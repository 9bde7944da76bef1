"""Ray for the length of a block, of whatever kind the cluster is: settings of the process, start, capacity, stop."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from orchestrator.errors import ClusterError
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.sweep import Resources
from orchestrator.storage.capacity import Capacity
from orchestrator.tuning.clusters.cluster import make_cluster
from orchestrator.tuning.ray_internals import check_ray

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
    if ray.is_initialized():
        ray.shutdown()
    cluster = make_cluster(profile)
    cluster.start()
    try:
        yield _capacity(profile, resources, planned_trials)
    finally:
        cluster.stop()


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
