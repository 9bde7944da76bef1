"""``doctor``: what is wrong with this machine, and how to mend it."""

from __future__ import annotations

import time
from pathlib import Path

from orchestrator.api.doctor.finding import Diagnosis, Finding
from orchestrator.api.doctor.packages import check_packages, check_python
from orchestrator.api.doctor.probes import finish_probe, start_probe
from orchestrator.api.doctor.system import (
    check_disk,
    check_limits,
    check_memory,
    check_network,
    check_ports,
    check_shared_memory,
    check_temporary,
    check_threads,
)
from orchestrator.tracking.mlflow.opening import default_tracking_uri

__all__ = ["Diagnosis", "Finding", "examine_machine"]

PROBE_SECONDS = 90.0


def examine_machine(storage: Path, ray_address: str | None = None, tracking_uri: str | None = None) -> Diagnosis:
    """Check everything that a sweep needs of a machine; starts and ends a small Ray, and writes nothing that stays.

    Args:
        storage: Storage folder that a sweep would use.
        ray_address: Join this Ray cluster instead of starting one.
        tracking_uri: MLflow store; default: the storage's own, if there is one.
    """
    began = time.perf_counter()
    probes = {
        "torch": start_probe("torch"),
        "ray": start_probe("ray", address=ray_address),
        "mlflow": start_probe("mlflow", uri=tracking_uri or default_tracking_uri(storage)),
        "model hub": start_probe("model hub"),
    }
    findings = [check_python(), *check_packages(), *check_disk(storage), check_temporary(), check_memory()]
    findings += [check_shared_memory(), check_threads(), check_limits(), check_ports(), check_network()]
    for name, process in probes.items():
        findings += finish_probe(name, process, PROBE_SECONDS)
    return Diagnosis(tuple(findings), round(time.perf_counter() - began, 2))
