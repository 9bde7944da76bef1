"""The machine: disk, memory, shared memory, threads, limits, ports, names and proxies; all read, nothing started."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from orchestrator.api.doctor.finding import Finding
from orchestrator.errors import StorageError
from orchestrator.storage.sweep_folder import check_storage
from orchestrator.tracking.mlflow.sqlite_store import on_network

GIB = 2**30
LITTLE_DISK_GIB = 5.0
LITTLE_TEMPORARY_GIB = 2.0
LITTLE_MEMORY_GIB = 2.0
LITTLE_SHARED_GIB = 1.0
FEW_FILES = 4096
FEW_PROCESSES = 2048
PORTS = {5000: "MLflow UI", 6379: "Ray head node", 8265: "Ray dashboard"}
_CGROUP = Path("/sys/fs/cgroup")


def check_disk(storage: Path) -> list[Finding]:
    """Check that the storage folder can be written, has room, and is no network disk for SQLite."""
    try:
        check_storage(storage)
    except StorageError as error:
        return [Finding("disk", "fail", f"storage '{storage}': {error.rule}", error.mend)]
    place = next(folder for folder in (storage.resolve(), *storage.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free / GIB
    text = f"{free:.1f} GiB free for the storage '{storage}'"
    if on_network(place):
        mend = "give a tracking server (--tracking-uri), or keep the storage on a local disk; checkpoints may stay here"
        return [Finding("disk", "warn", f"{text}, on a network file system, where MLflow's SQLite is slow", mend)]
    if free < LITTLE_DISK_GIB:
        return [Finding("disk", "warn", text, "checkpoints of large models need more; choose another with --storage")]
    return [Finding("disk", "ok", text)]


def check_temporary(folder: Path = Path("/tmp")) -> Finding:
    """Check the folder in which Ray keeps its session."""
    place = Path(os.environ.get("RAY_TMPDIR", folder))
    if not os.access(place, os.W_OK):
        return Finding("temporary folder", "fail", f"{place} is not writable", "set RAY_TMPDIR to a folder that is")
    free = shutil.disk_usage(place).free / GIB
    text = f"{free:.1f} GiB free in {place}, where Ray keeps its session"
    little = free < LITTLE_TEMPORARY_GIB
    return Finding("temporary folder", "warn" if little else "ok", text, "make room there" if little else "")


def check_memory(limit: int | None = None) -> Finding:
    """Check memory; ``limit`` is a container's in bytes (default: asked of the control group)."""
    memory = psutil.virtual_memory()
    limit = memory_limit() if limit is None else limit
    total = min(memory.total, limit) if limit else memory.total
    available = min(memory.available, total) / GIB
    text = f"{available:.1f} of {total / GIB:.1f} GiB available"
    if limit and limit < memory.total:
        text += f" (limit of this container; the machine has {memory.total / GIB:.1f} GiB)"
    if available < LITTLE_MEMORY_GIB:
        return Finding("memory", "warn", text, "close other programs, or set a lower resources.concurrency")
    return Finding("memory", "ok", text)


def check_shared_memory(place: Path = Path("/dev/shm")) -> Finding:
    """Check the folder in which Ray keeps its object store (Linux)."""
    if not place.exists():
        return Finding("shared memory", "ok", f"no {place} here; Ray uses its temporary folder")
    size = shutil.disk_usage(place).total / GIB
    text = f"{size:.1f} GiB in {place}"
    if size < LITTLE_SHARED_GIB:
        return Finding("shared memory", "warn", text, "start the container with --shm-size=2g; else Ray uses the disk")
    return Finding("shared memory", "ok", text)


def check_threads(environment: Mapping[str, str] | None = None) -> Finding:
    """Check CPU cores against limits, and the thread count that libraries are told to take."""
    values = os.environ if environment is None else environment
    cores = os.cpu_count() or 1
    usable = min(cores, _affinity() or cores, _quota() or cores)
    text = f"{usable:g} of {cores} CPU cores usable" if usable < cores else f"{cores} CPU cores"
    told = values.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > usable:
        return Finding(
            "threads",
            "warn",
            f"{text}, but OMP_NUM_THREADS={told}",
            "unset OMP_NUM_THREADS; every trial is given its share of threads",
        )
    if usable < cores:
        return Finding(
            "threads", "warn", text, f"set cpus: {max(1, int(usable))} in the cluster profile, as Ray counts all cores"
        )
    return Finding("threads", "ok", text)


def check_limits() -> Finding:
    """Check how many files and processes this user may open; Ray takes hundreds of each."""
    files, processes = (_soft(name) for name in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    text = f"{_count(files)} open files, {_count(processes)} processes"
    if 0 <= files < FEW_FILES:
        return Finding("limits", "warn", text, f"raise the limit of open files: ulimit -n {FEW_FILES * 4}")
    if 0 <= processes < FEW_PROCESSES:
        return Finding("limits", "warn", text, f"raise the limit of processes: ulimit -u {FEW_PROCESSES * 4}")
    return Finding("limits", "ok", text)


def check_ports(ports: Mapping[int, str] | None = None) -> Finding:
    """Check which of the usual ports are taken on loopback; a local sweep itself needs none of them."""
    named = PORTS if ports is None else ports
    taken = [f"{port} ({name})" for port, name in named.items() if _answers(port)]
    if taken:
        return Finding("ports", "ok", f"in use: {', '.join(taken)}; 'orchestrate ui' and a local Ray take free ones")
    return Finding("ports", "ok", f"free: {', '.join(f'{port} ({name})' for port, name in named.items())}")


def check_network(environment: Mapping[str, str] | None = None) -> Finding:
    """Check that this machine finds itself by name, and that no proxy stands between its own processes."""
    values = os.environ if environment is None else environment
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return Finding(
            "network",
            "warn",
            f"the host name {name!r} does not resolve",
            f"add a line '127.0.0.1 {name}' to /etc/hosts",
        )
    proxies = [key for key in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY") if values.get(key)]
    spared = f"{values.get('no_proxy', '')},{values.get('NO_PROXY', '')}"
    if proxies and not any(word in spared for word in ("127.0.0.1", "localhost", "*")):
        return Finding(
            "network",
            "warn",
            f"{proxies[0]} is set, and not left out for this machine",
            "set no_proxy=127.0.0.1,localhost, so that MLflow and Ray reach their own processes",
        )
    return Finding("network", "ok", f"{name} is {address}")


def memory_limit(group: Path = _CGROUP) -> int | None:
    """Return the memory limit of this control group in bytes; None where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(group / name)
        # Version 1 writes a number near 2**63 for "no limit".
        if text.isdigit() and int(text) < 2**60:
            return int(text)
    return None


def _quota(group: Path = _CGROUP) -> float | None:
    words = _read(group / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    quota, period = _read(group / "cpu/cpu.cfs_quota_us"), _read(group / "cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _affinity() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _soft(limit: int) -> int:
    return resource.getrlimit(limit)[0]


def _count(limit: int) -> str:
    return "unlimited" if limit < 0 or limit >= 2**62 else f"{limit:,}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
