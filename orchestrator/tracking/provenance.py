"""Where a sweep comes from: code, packages, machine, person; as tags of its run."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("sft-orchestrator", "torch", "ray", "transformers", "peft", "mlflow", "optuna", "datasets")


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
    commit = _git(folder, "rev-parse", "HEAD")
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "git.commit": commit}
        tags["git.dirty"] = "yes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "no"
    return tags | {f"version.{package}": version for package in PACKAGES if (version := _version(package))}


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
