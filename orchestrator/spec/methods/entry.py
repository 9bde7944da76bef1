"""The record behind one row of the table of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MethodEntry:
    """One row of the table; see `orchestrator.spec.methods.catalogue.MethodInfo` for the meaning of the fields."""

    family: str
    summary: str
    centre: float
    evidence: str
    config: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    starts: bool = True
    merges: bool = True
