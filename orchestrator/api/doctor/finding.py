"""One line of a diagnosis, and all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        check: What was looked at.
        status: ``ok``, ``warn`` (a sweep runs, but slower or less safely), or ``fail`` (a sweep would not run).
        text: What was found.
        mend: How to mend it; empty when there is nothing to mend.
    """

    check: str
    status: Status
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status != "fail" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {"healthy": self.healthy, "seconds": self.seconds, "findings": [asdict(each) for each in self.findings]}
