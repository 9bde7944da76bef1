"""What an analysis gives: effects by comparison and target, and the judged finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from orchestrator.reporting.findings.analysis.verdicts import Verdict, judge, together, units_to_decide
from orchestrator.reporting.findings.registration.registration import Comparison, Finding, Registration, Target
from orchestrator.reporting.findings.statistics.estimates import Effect

Effects = Mapping[tuple[str, Target], Effect]
"""Effects by comparison's name and target."""


@dataclass(frozen=True)
class Judged:
    """One comparison on one target.

    Args:
        comparison: As registered.
        target: The score it was made on.
        minimum: Smallest effect that matters.
        effect: Turned so that more is as claimed.
        verdict: By the registered rule.
        needed: Units (`Effect.n`) that would decide it; None where it is decided, or no feasible number would.
    """

    comparison: Comparison
    target: Target
    minimum: float
    effect: Effect
    verdict: Verdict
    needed: int | None

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able dictionary; numbers that do not exist are None."""
        effect = {name: _number(value) for name, value in asdict(self.effect).items()}
        return {
            "comparison": self.comparison.name,
            "says": self.comparison.says,
            "rule": self.comparison.rule,
            "primary": self.comparison.primary,
            "target": self.target,
            "minimum": self.minimum,
            **effect,
            "verdict": self.verdict,
            "needed": self.needed,
        }


@dataclass(frozen=True)
class FindingOutcome:
    """A finding with its verdict.

    Args:
        finding: As registered.
        target: On which the verdict rests.
        verdict: None where the finding was not tested.
        why: Why it was not tested; empty where it was.
        seeds: Independent seeds.
        judged: Every comparison on every target, primary ones first.
    """

    finding: Finding
    target: Target
    verdict: Verdict | None
    why: str = ""
    seeds: int = 0
    judged: tuple[Judged, ...] = ()

    @property
    def primary(self) -> tuple[Judged, ...]:
        """The comparisons on which the verdict rests."""
        return tuple(each for each in self.judged if each.comparison.primary and each.target == self.target)

    def get(self, comparison: str, target: Target | None = None) -> Judged | None:
        """Return a comparison on a target (default: the verdict's); None where it could not be made."""
        wanted = target or self.target
        return next((e for e in self.judged if e.comparison.name == comparison and e.target == wanted), None)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able dictionary."""
        return {
            "finding": self.finding.id,
            "title": self.finding.title,
            "statement": self.finding.statement,
            "verdict": self.verdict,
            "why": self.why,
            "target": self.target,
            "seeds": self.seeds,
            "comparisons": [each.as_dict() for each in self.judged],
        }


def conclude(
    finding: Finding, effects: Effects, targets: Sequence[Target], seeds: int, shared: Registration, testbed: bool
) -> FindingOutcome:
    """Judge a finding's effects by its registration."""
    primary = finding.primary_target["testbed" if testbed else "own"]
    judged = []
    for comparison in sorted(finding.comparisons, key=lambda entry: not entry.primary):
        for target in sorted(targets, key=lambda entry: entry != primary):
            effect = effects.get((comparison.name, target))
            if effect is not None and target in finding.targets:
                minimum = comparison.minimum or shared.targets.minimum[target]
                verdict = judge(effect, comparison.rule, minimum)
                needed = units_to_decide(effect, comparison.rule, minimum)
                judged.append(Judged(comparison, target, minimum, effect, verdict, needed))
    outcome = FindingOutcome(finding, primary, None, "", seeds, tuple(judged))
    wanted = [entry.name for entry in finding.comparisons if entry.primary]
    known = {each.comparison.name for each in outcome.primary if each.effect.known}
    if missing := [name for name in wanted if name not in known]:
        why = f"nothing can be said of {', '.join(missing)} on {shared.targets.title[primary]}"
        return FindingOutcome(finding, primary, None, why, seeds, tuple(judged))
    verdict = together(each.verdict for each in outcome.primary)
    return FindingOutcome(finding, primary, verdict, "", seeds, tuple(judged))


def not_tested(finding: Finding, why: str, testbed: bool) -> FindingOutcome:
    """Return a finding without a verdict."""
    return FindingOutcome(finding, finding.primary_target["testbed" if testbed else "own"], None, why)


def without_verdict(outcome: FindingOutcome, why: str) -> FindingOutcome:
    """Return a finding with its numbers and without its verdict."""
    return replace(outcome, verdict=None, why=why)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
