"""What is checked before a reproduction starts or writes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import InputError, ModelError, nearest
from orchestrator.reporting.findings.designs import designs
from orchestrator.reporting.findings.registration import Finding, registration
from orchestrator.reporting.findings.scaling import PAPER, SCALES, Scale
from orchestrator.reporting.findings.suite import needed_designs
from orchestrator.spec.sweep import SweepSpec
from orchestrator.training.hub import is_reachable
from orchestrator.training.models import find_model
from orchestrator.training.sources import open_source


def checked_scale(name: str, models: Sequence[str], data: str) -> Scale:
    """Return a scale.

    Raises:
        InputError: If there is none of that name, or it needs a base and data that were not given.
    """
    if name == PAPER.name and data:
        raise InputError("--data", value=data, rule="at the paper's scale the sweep files of search_spaces/secret_recipe name the data",
                         mend="put the data where they say, or choose another scale")  # fmt: skip
    if name == PAPER.name:
        return PAPER
    if name not in SCALES:
        raise InputError("--scale", value=name, rule=f"there is no such scale; there are {', '.join(SCALES)} and paper",
                         mend=nearest(name, SCALES))  # fmt: skip
    if name == "gpu" and not (models and data):
        raise InputError("--scale", value=name, rule="this scale trains a base of 60 to 150 million parameters, which does not come with the package",
                         mend="name base and data with --model and --data")  # fmt: skip
    return SCALES[name]


def check_inputs(specs: Mapping[str, SweepSpec]) -> None:
    """Check that weights and data of the paper's sweeps are there, before hours are spent.

    Raises:
        ModelError: If weights are neither on this machine nor to be had from the hub.
        DataError: If training data are missing.
    """
    for spec in specs.values():
        path = find_model(spec.model)
        if not Path(path).is_dir() and not _has_weights(path, spec.model.revision) and not is_reachable():
            raise ModelError(path, rule=f"sweep {spec.name} trains this base, whose weights are not on this machine, and the hub cannot be reached",
                             mend="name a folder that holds them with --model, or run a smaller scale: --scale mini")  # fmt: skip
        for source in (spec.data.train, *(phase.train for phase in spec.data.phases)):
            if source:
                open_source(source, spec.data.split)


def _has_weights(repository: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "model.safetensors.index.json")
    return any(isinstance(try_to_load_from_cache(repository, file, revision=revision), str) for file in files)


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
            raise InputError("--seeds", value=planned, rule=f"{finding.id} gives no verdict with fewer than {finding.least_seeds} seeds",
                             mend=f"give --seeds {finding.least_seeds} or more")  # fmt: skip
    return chosen


def untestable(finding: Finding, models: Sequence[str], data: str) -> str:
    """Return why a finding cannot be tested on a base and data; empty where it can."""
    names = needed_designs([finding])
    if any(designs()[name].base == "second" for name in names) and (data or models) and len(models) != 2:
        return "it compares two base models (give --model twice)"
    return ""
