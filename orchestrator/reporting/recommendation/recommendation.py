"""A recommendation: a ready sweep file with the reason of every choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.reporting.recommendation.advice import Advice, Evidence
from orchestrator.reporting.recommendation.commented import commented_yaml


@dataclass(frozen=True)
class Recommendation:
    """A ready sweep with the reason of every choice.

    Attributes:
        values: The sweep as its file says it.
        advice: The choices.
        evidence: What past sweeps contributed, the weightiest first.
        past_sweeps: Names of the past sweeps that were read.
        notes: What was left out, and why.
    """

    values: Mapping[str, object]
    advice: tuple[Advice, ...]
    evidence: tuple[Evidence, ...] = ()
    past_sweeps: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, without the text of the file."""
        return asdict(self)

    @property
    def yaml(self) -> str:
        """The sweep file, each choice with its reason and source as a comment."""
        return commented_yaml(self.values, self.advice, self.past_sweeps, self.notes)
