"""The records of a recommendation: each choice with its reason and source, and the evidence that it rests on."""

from __future__ import annotations

from dataclasses import dataclass


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
    value: object
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
