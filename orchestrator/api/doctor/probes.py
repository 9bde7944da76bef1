"""What must be tried rather than read: torch and its devices, Ray, MLflow, the model hub.

Each probe runs in a process of its own (``python -m orchestrator.api.doctor.probes NAME JSON``): a driver that
crashes, or a Ray that hangs, is then a line of the diagnosis and not the end of it. A probe prints its findings as
JSON on the last line of standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from orchestrator.api.doctor.finding import Finding
from orchestrator.errors import OrchestratorError

GIB = 2**30


def start_probe(name: str, **options: object) -> subprocess.Popen[str]:
    """Start a probe."""
    words = [sys.executable, "-m", "orchestrator.api.doctor.probes", name, json.dumps(options)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish_probe(name: str, process: subprocess.Popen[str], seconds: float) -> list[Finding]:
    """Return what a probe found; a failure when it crashed or did not end in time."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return [
            Finding(name, "fail", f"did not answer within {seconds:.0f} s", "try it again when the machine is idle")
        ]
    try:
        return [Finding(**values) for values in json.loads(out.strip().splitlines()[-1])]
    except (ValueError, TypeError, IndexError):
        lines = err.strip().splitlines() or [f"ended with exit code {process.returncode}"]
        return [Finding(name, "fail", lines[-1][:300], "install the packages again: pip install . -c constraints.txt")]


def probe_torch() -> list[Finding]:
    """Import torch, and compute on every accelerator that it sees."""
    import torch

    built = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        return [Finding("torch", "ok", built), _without_cuda(torch.version.cuda)]
    findings = [Finding("torch", "ok", f"{built}, CUDA {torch.version.cuda}")]
    for index in range(torch.cuda.device_count()):
        findings.append(_gpu(index))
    return findings


def _without_cuda(built_for: str | None) -> Finding:
    import torch

    if _nvidia_driver():
        mend = "install a torch built for CUDA (pytorch.org)" if built_for is None else "update the NVIDIA driver"
        return Finding(
            "gpu", "warn", "there is an NVIDIA GPU, but torch cannot use it, so trials train on the CPU", mend
        )
    if torch.backends.mps.is_available():
        return Finding("gpu", "ok", "Apple GPU; trials train on the CPU all the same")
    return Finding("gpu", "ok", "none; trials train on the CPU")


def _gpu(index: int) -> Finding:
    import torch

    facts = torch.cuda.get_device_properties(index)
    free = torch.cuda.mem_get_info(index)[0] / GIB
    text = f"{index}: {facts.name}, {free:.1f} of {facts.total_memory / GIB:.1f} GiB free"
    ones = torch.ones(256, 256, device=f"cuda:{index}", dtype=torch.bfloat16)
    if float((ones @ ones)[0, 0]) != 256.0:
        return Finding("gpu", "fail", f"{text}; it computes wrongly", "run a memory test of the GPU")
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding("gpu", "warn", f"{text}; no bfloat16", "set training.precision: float32")
    if free < facts.total_memory / GIB / 2:
        return Finding("gpu", "warn", f"{text}; another program holds the rest", "see who does with nvidia-smi")
    return Finding("gpu", "ok", text)


def _nvidia_driver() -> bool:
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def probe_ray(address: str | None) -> list[Finding]:
    """Start Ray here, or join a cluster, and run a task."""
    from orchestrator.spec.clusters.existing import ExistingProfile
    from orchestrator.spec.clusters.local import LocalProfile
    from orchestrator.spec.sweep import Resources
    from orchestrator.tuning.clusters.connect import connected

    began = time.perf_counter()
    profile = LocalProfile(cpus=1) if address is None else ExistingProfile(address=address)
    try:
        with connected(profile, Resources(), 1) as capacity:
            import ray

            started = time.perf_counter() - began
            ray.get(ray.remote(_nothing).remote(), timeout=60)
            nodes = len(ray.nodes())
    except OrchestratorError as error:
        mend = getattr(error, "mend", "")
        return [Finding("ray", "fail", getattr(error, "rule", str(error)), mend)]
    except (RuntimeError, OSError, ValueError, TimeoutError) as error:
        mend = "see /tmp/ray/session_latest/logs; a Ray left from before is ended with 'ray stop'"
        return [Finding("ray", "fail", f"Ray does not start: {str(error).splitlines()[0][:200]}", mend)]
    if address is None:
        return [Finding("ray", "ok", f"starts here in {started:.1f} s and runs a task")]
    offer = f"{capacity.cpus:g} CPUs, {capacity.gpus:g} GPUs on {nodes} nodes"
    return [Finding("ray", "ok", f"joined {address} in {started:.1f} s: {offer}")]


def _nothing() -> None:
    return None


def probe_mlflow(uri: str | None) -> list[Finding]:
    """Open a tracking store: the given one if it exists, else a new one in a temporary folder."""
    from orchestrator.tracking.mlflow.opening import check_tracking_uri
    from orchestrator.tracking.mlflow.sink import open_client, told
    from orchestrator.tracking.mlflow.sqlite_store import database_file

    began = time.perf_counter()
    file = database_file(uri) if uri else None
    try:
        if uri is not None:
            check_tracking_uri(uri)
        with tempfile.TemporaryDirectory() as folder, told():
            new = uri is None or (file is not None and not file.exists())
            client = open_client(f"sqlite:///{Path(folder) / 'mlflow.db'}" if new else str(uri))
            count = len(client.search_experiments())
    except OrchestratorError as error:
        mend = getattr(error, "mend", "") or "after an upgrade of MLflow: mlflow db upgrade URI"
        return [Finding("mlflow", "fail", str(getattr(error, "rule", "") or error)[:300], mend)]
    seconds = time.perf_counter() - began
    if new:
        return [Finding("mlflow", "ok", f"makes and opens a new SQLite store in {seconds:.1f} s")]
    return [Finding("mlflow", "ok", f"opens {uri} ({count} experiments) in {seconds:.1f} s")]


def probe_hub() -> list[Finding]:
    """Ask whether the model and data hub answers."""
    from orchestrator.training.model.hub import is_reachable

    if is_reachable():
        return [Finding("model hub", "ok", "answers; models and data can be named by their id")]
    return [Finding("model hub", "ok", "out of reach: models and data must be local folders, or cached")]


PROBES: Mapping[str, Callable[..., list[Finding]]] = {
    "torch": probe_torch,
    "ray": probe_ray,
    "mlflow": probe_mlflow,
    "model hub": probe_hub,
}


def main() -> None:
    """Run the probe that the command line names."""
    name, options = sys.argv[1:3]
    findings = PROBES[name](**json.loads(options))
    sys.stdout.write("\n" + json.dumps([asdict(finding) for finding in findings]) + "\n")


if __name__ == "__main__":
    main()
