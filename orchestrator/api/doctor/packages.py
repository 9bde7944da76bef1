"""Python and packages against what this package declares; nothing is imported."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement

from orchestrator.api.doctor.finding import Finding

DISTRIBUTION = "sft-orchestrator"
OLDEST_PYTHON = (3, 11)


def check_python() -> Finding:
    """Check the interpreter."""
    text = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Finding("python", "ok", text)
    return Finding("python", "fail", text, f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")


def check_packages() -> list[Finding]:
    """Check every declared dependency; one line when all fit."""
    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return [
            Finding(
                "packages",
                "warn",
                "this package is not installed, so its requirements are unknown",
                "install it: pip install . -c constraints.txt",
            )
        ]
    wanted = [Requirement(text) for text in declared]
    return judge_packages([each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})])


def judge_packages(wanted: Iterable[Requirement]) -> list[Finding]:
    """Compare requirements with what is installed."""
    found, wrong = [], []
    for each in wanted:
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            wrong.append(Finding("packages", "fail", f"{each.name} is not installed", f"pip install '{each}'"))
            continue
        found.append(f"{each.name} {version}")
        if not each.specifier.contains(version, prereleases=True):
            text = f"{each.name} {version} is installed, {each.specifier} was tested"
            wrong.append(Finding("packages", "fail", text, f"pip install '{each}'"))
    return wrong or [Finding("packages", "ok", ", ".join(found))]
