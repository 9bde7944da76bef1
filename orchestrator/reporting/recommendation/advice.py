"""The records of a recommendation: each choice with its reason and source, and the evidence that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Advice:
    """One choice.

    Attributes:
        field: Dotted field of the sweep file.
        value: What it is set to.
        reason: Why, as a clause.
        sources: Where that comes from: a publication, a table of this package, a past sweep, or an assumption.
    """

    field: str
    value: Any
    reason: str
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.reason.strip() or not any(source.strip() for source in self.sources):
            raise ValueError(f"advice on {self.field} needs a reason and a source")


@dataclass(frozen=True)
class Evidence:
    """What a past sweep contributed to a choice.

    Attributes:
        field: The choice.
        sweep: Name of the past sweep.
        place: Where it is.
        method: Whose best value it was; empty for the effective batch size.
        best: Best value there.
        trials: Trials that it rests on.
        similarity: How alike the situations are (0 to 1).
        weight: Share of its offset from the rule by which it moves the choice; negative where others tell the same.
        at_edge: The best value was the lowest or highest tried.
    """

    field: str
    sweep: str
    place: str
    method: str
    best: float
    trials: int
    similarity: float
    weight: float
    at_edge: bool


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

    values: Mapping[str, Any]
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
        from orchestrator.reporting.recommendation.commented import commented_yaml

        return commented_yaml(self)
