"""Everything that the findings report tells of, gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from orchestrator.reporting.findings.analysis.outcome import FindingOutcome
from orchestrator.reporting.findings.analysis.runs import Runs


@dataclass(frozen=True)
class SweepState:
    """How far a design's sweep is.

    ``design`` names it, ``name`` is its own name; ``trials`` of ``planned`` were trained to their end. ``seconds`` are wall
    seconds of training and evaluation over all slots.
    """

    design: str
    name: str
    planned: int
    trials: int = 0
    complete: bool = False
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    run_id: str = ""


@dataclass(frozen=True)
class FindingsFacts:
    """What was reproduced, on what, and what came of it.

    Args:
        scale: ``mini``, ``gpu`` or ``paper``.
        models: Base models, the first one first.
        data: Training data.
        testbed: Whether they are the test bed's.
        baseline: The learning rate that stands for the paper's 2e-5.
        baseline_from: How it was found.
        sweeps: How far each is.
        outcomes: One per finding that was asked for.
        runs: All trials that were trained to their end.
        digest: Of the registration.
        notes: What a reader must know besides.
        command: What goes on with it, or does it again.
        written: Unix time.
    """

    scale: str
    models: Sequence[str]
    data: str
    testbed: bool
    baseline: float
    baseline_from: str
    sweeps: Sequence[SweepState]
    outcomes: Sequence[FindingOutcome]
    runs: Runs
    digest: str
    notes: Sequence[str]
    command: str
    written: float

    @property
    def complete(self) -> bool:
        """Whether every sweep was run to its end."""
        return all(sweep.complete for sweep in self.sweeps)

    @property
    def evaluation_share(self) -> float:
        """Share of the trials' time that scoring took."""
        whole = sum(sweep.seconds for sweep in self.sweeps)
        return sum(sweep.evaluation_seconds for sweep in self.sweeps) / whole if whole else 0.0

    def counts(self) -> Mapping[str, int]:
        """Return how many findings have each verdict, ``not tested`` among them."""
        told = [outcome.verdict or "not tested" for outcome in self.outcomes]
        return {verdict: told.count(verdict) for verdict in ("reproduced", "not reproduced", "undecided", "not tested")}

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able dictionary."""
        return {
            "scale": self.scale,
            "models": list(self.models),
            "data": self.data,
            "baseline": self.baseline,
            "baseline_from": self.baseline_from,
            "complete": self.complete,
            "registration": self.digest,
            "sweeps": [asdict(sweep) for sweep in self.sweeps],
            "verdicts": dict(self.counts()),
            "findings": [outcome.as_dict() for outcome in self.outcomes],
            "notes": list(self.notes),
            "evaluation_share": self.evaluation_share,
            "command": self.command,
        }
