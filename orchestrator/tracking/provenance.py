"""Where a sweep comes from: code, packages, machine, person; as tags of its run and as a record in its journal."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("sft-orchestrator", "torch", "ray", "transformers", "peft", "mlflow", "optuna", "datasets")
TRAINING_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "datasets", "numpy")
"""What a trial's result may depend on, besides this package's own code."""


def provenance_tags(folder: Path | None = None) -> dict[str, str]:
    """Return tags for a sweep's run.

    Args:
        folder: Working tree whose git commit counts; default: the current folder. Without git, or
            outside of a repository, the git tags are left out.
    """
    tags = {
        "mlflow.source.name": f"orchestrate {' '.join(sys.argv[1:2])}".strip(),
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "host": platform.node(),
        "python": platform.python_version(),
    }
    commit, dirty = git_state(folder)
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "git.commit": commit, "git.dirty": "yes" if dirty else "no"}
    return tags | {f"version.{package}": version for package in PACKAGES if (version := _version(package))}


def environment(folder: Path | None = None) -> dict[str, object]:
    """Return what a result depends on besides configuration and data, as a JSON-able record.

    Keys: ``python``, ``machine`` (processor and system), ``host``, ``cpus``, ``versions`` (package -> version),
    ``code`` (digest of this package's source), ``git_commit`` and ``git_dirty`` of the working tree (empty and
    False outside of a repository).
    """
    commit, dirty = git_state(folder)
    versions = {package: _version(package) for package in dict.fromkeys((*PACKAGES, *TRAINING_PACKAGES))}
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        "host": platform.node(),
        "cpus": os.cpu_count() or 0,
        "versions": {package: version for package, version in versions.items() if version},
        "code": code_digest(),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def code_digest() -> str:
    """Return a digest of this package's own source files, whether they are installed or in a working tree."""
    package = Path(__file__).resolve().parents[1]
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(package.rglob("*.py")):
        total.update(f"{file.relative_to(package).as_posix()}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def git_state(folder: Path | None = None) -> tuple[str, bool]:
    """Return commit and whether tracked files differ from it; an empty commit outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    return commit, bool(commit and _git(folder, "status", "--porcelain", "--untracked-files=no"))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that has no name.
        return "unknown"


def _git(folder: Path | None, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
