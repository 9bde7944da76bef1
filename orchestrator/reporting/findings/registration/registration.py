"""Findings as pre-registered tests: what is claimed, what is compared, and what decides, written down as data.

The files under ``registered/`` are the registration. Their digest goes into every report, so that a reader sees that the
rules of a verdict are the registered ones.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from orchestrator.errors import InputError, nearest
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.spec.reading.closed import Closed

_FOLDER = Path(__file__).with_name("registered")

Rule = Literal["superiority", "equivalence", "non_inferiority"]
Target = Literal["benchmarks", "knowledge", "skills", "held_out_loss", "forgetting"]
Interval = Literal["paired_t", "pigeonhole_bootstrap"]


class Comparison(Closed):
    """One number that is estimated, and what it must be.

    All effects are turned so that more is as the paper claims (or, under ``equivalence``, as the first-named arm
    being better).
    """

    name: str = Field(description="Its key in the analysis.", pattern=r"^[a-z0-9_]+$")
    says: str = Field(description="What is subtracted from what, or correlated with what.")
    rule: Rule = Field(description="What decides; see orchestrator/reporting/findings/analysis/verdicts.py.")
    primary: bool = Field(default=False, description="Whether the finding's verdict rests on it.")
    minimum: float | None = Field(
        default=None, gt=0, description="Smallest effect that matters; default: the target's own."
    )


class Finding(Closed):
    """A statement of the paper, and the test that was fixed for it before any result was seen."""

    id: str = Field(pattern=r"^F[1-9]$", description="F1 to F7.")
    title: str = Field(description="Its heading.")
    statement: str = Field(description="What the paper says.")
    source: str = Field(description="Where in the paper.")
    seen_there: str = Field(description="What the paper shows for it, and how strong that is.")
    sweeps: list[str] = Field(min_length=1, description="Designs that it rests on, names in designs.yaml.")
    unit: str = Field(description="What is compared with what, and what counts as one observation.")
    inference: Interval = Field(description="How the interval is made.")
    method: str = Field(description="The same in words.")
    least_seeds: int = Field(ge=2, description="Seeds without which no verdict is given.")
    targets: list[Target] = Field(min_length=1, description="Scores that the comparisons are made on.")
    primary_target: dict[Literal["testbed", "own"], Target] = Field(
        description="The target that the verdict rests on: on the test bed, and on data of one's own."
    )
    comparisons: list[Comparison] = Field(min_length=1, description="What is estimated.")
    verdict: str = Field(description="How the comparisons give the verdict, in words.")
    recommends: dict[Literal["reproduced", "not reproduced", "undecided"], str] = Field(
        description="What follows for the reader's own next run."
    )

    @model_validator(mode="after")
    def _hangs_together(self) -> Finding:
        names = [entry.name for entry in self.comparisons]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.id}: comparisons need different names, got {names}")
        if not any(entry.primary for entry in self.comparisons):
            raise ValueError(f"{self.id}: at least one comparison must be primary")
        if unknown := [name for name in self.sweeps if name not in designs()]:
            raise ValueError(f"{self.id}: there is no design {unknown[0]!r}")
        if missing := {"reproduced", "not reproduced", "undecided"} - set(self.recommends):
            raise ValueError(f"{self.id}: no recommendation for {', '.join(sorted(missing))}")
        return self


class Targets(Closed):
    """What is scored, and how far a score must move to matter."""

    title: dict[Target, str]
    mode: dict[Target, Literal["min", "max"]]
    minimum: dict[Target, float]


class Registration(Closed):
    """All findings with what they share."""

    targets: Targets
    early_shares: list[float] = Field(description="Sample counts at which early signals are read, of ten epochs.")
    early_share: float = Field(description="The one that the verdict of F2 rests on.")
    findings: tuple[Finding, ...]

    def finding(self, name: str) -> Finding:
        """Return a finding by its id.

        Raises:
            InputError: If there is none; names the nearest.
        """
        known = {finding.id: finding for finding in self.findings}
        if name not in known:
            raise InputError(
                "--findings",
                value=name,
                rule=f"there is no such finding; there are {', '.join(known)}",
                mend=nearest(name.upper(), known),
            )
        return known[name]


@lru_cache(maxsize=1)
def registration() -> Registration:
    """Return the registration as it stands in the package."""
    shared = _read(_FOLDER / "shared.yaml")
    findings = [_read(file) for file in sorted(_FOLDER.glob("F*.yaml"))]
    return Registration.model_validate({**shared, "findings": findings})


def registration_digest() -> str:
    """Return the SHA-256 of the registration and the designs, as twelve hex digits: any change of a rule changes it."""
    files = [*sorted(_FOLDER.glob("*.yaml")), Path(__file__).with_name("designs.yaml")]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _read(file: Path) -> dict[str, object]:
    values: dict[str, object] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return values
