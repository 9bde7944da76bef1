"""What the options of a reproduction say, checked by themselves: before libraries of models are loaded or files are read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.errors import InputError, nearest
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.registration import Finding, registration
from orchestrator.reporting.findings.registration.scaling import PAPER, SCALES, Scale
from orchestrator.reporting.findings.registration.suite import needed_designs

GUIDANCE = "secret-recipe"


def check_guidance(name: str) -> None:
    """Check that guidance of that name can be reproduced.

    Raises:
        InputError: If there is none.
    """
    if name != GUIDANCE:
        raise InputError(
            "GUIDANCE",
            value=name,
            rule=f"the guidance that can be reproduced is {GUIDANCE} (arXiv 2412.13337)",
            mend=nearest(name, [GUIDANCE]),
        )


def checked_scale(name: str, models: Sequence[str], data: str) -> Scale:
    """Return a scale.

    Raises:
        InputError: If there is none of that name, or it needs a base and data that were not given.
    """
    if name == PAPER.name and data:
        raise InputError(
            "--data",
            value=data,
            rule="at the paper's scale the sweep files of search_spaces/secret_recipe name the data",
            mend="put the data where they say, or choose another scale",
        )
    if name == PAPER.name:
        return PAPER
    if name not in SCALES:
        raise InputError(
            "--scale",
            value=name,
            rule=f"there is no such scale; there are {', '.join(SCALES)} and paper",
            mend=nearest(name, SCALES),
        )
    if name == "gpu" and not (models and data):
        raise InputError(
            "--scale",
            value=name,
            rule="this scale trains a base of 60 to 150 million parameters, which does not come with the package",
            mend="name base and data with --model and --data",
        )
    return SCALES[name]


def checked_findings(names: Sequence[str], seeds: int | None, models: Sequence[str], data: str) -> list[Finding]:
    """Return the findings that are asked for, all of them without a name.

    Raises:
        InputError: If one is unknown, cannot be tested on what was given, or has too few seeds for a verdict.
    """
    shared = registration()
    chosen = [shared.finding(name.strip()) for name in names] if names else list(shared.findings)
    for finding in chosen:
        if names and (why := untestable(finding, models, data)):
            raise InputError("--findings", value=finding.id, rule=why, mend="leave it out")
        planned = min(seeds or designs()[name].seeds for name in needed_designs([finding]))
        if planned < finding.least_seeds:
            raise InputError(
                "--seeds",
                value=planned,
                rule=f"{finding.id} gives no verdict with fewer than {finding.least_seeds} seeds",
                mend=f"give --seeds {finding.least_seeds} or more",
            )
    return chosen


def untestable(finding: Finding, models: Sequence[str], data: str) -> str:
    """Return why a finding cannot be tested on a base and data; empty where it can."""
    names = needed_designs([finding])
    if any(designs()[name].base == "second" for name in names) and (data or models) and len(models) != 2:
        return "it compares two base models (give --model twice)"
    return ""


def check_options(scale: Scale, data: str, general_text: str, baseline_rate: float | None) -> None:
    """Check options by themselves, before any file is looked at.

    Raises:
        InputError: If the baseline rate is none, or an option would not be looked at.
    """
    if general_text and not data:
        raise InputError(
            "--general-text",
            value=general_text,
            rule="is used with --data only: the test bed has a text of its own, and the paper's sweep files name theirs",
            mend="add --data, or leave it out",
        )
    if baseline_rate is None:
        return
    if scale == PAPER:
        raise InputError(
            "--baseline-rate",
            value=baseline_rate,
            rule="at the paper's scale the learning rates are the paper's own",
            mend="leave it out, or choose another scale",
        )
    if not (math.isfinite(baseline_rate) and baseline_rate > 0):
        raise InputError(
            "--baseline-rate",
            value=baseline_rate,
            rule="a learning rate is a number above 0",
            mend="e.g. 1e-3, or leave it out to have it found",
        )
