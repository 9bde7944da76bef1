"""Which rules run in a sweep, in which order, with which options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.decisions.rules.registry import RULES
from orchestrator.decisions.rules.rule import Comparison, Judged, Judging, StepRule, StoppingRule, SweepOutline
from orchestrator.decisions.rules.rungs import RungComparison


def built_in_rules() -> tuple[StoppingRule, ...]:
    """Return all rules with their defaults, as a sweep file has them that says nothing of stopping."""
    return tuple(rule() for rule in RULES.values())


@dataclass(frozen=True)
class StoppingPolicy:
    """The rules in the order they are asked; a trial goes on only where no rule stops it.

    Args:
        rules: Those that are not enabled are never asked. Of several that check every step, or compare trials, the
            first checks, and the last compares.
        record: Stop nothing and pause nothing, whatever the rules say; only a trial whose loss or gradient is no
            longer a number ends, because it has nothing left to record.
    """

    rules: tuple[StoppingRule, ...] = field(default_factory=built_in_rules)
    record: bool = False

    @property
    def enabled(self) -> tuple[StoppingRule, ...]:
        """The rules that run."""
        return tuple(rule for rule in self.rules if rule.enabled)

    def worker_rule(self) -> StepRule | None:
        """Return the rule that workers check at every step; None when there is nothing to check."""
        checks = (rule.in_worker(self.record) for rule in self.enabled)
        return next((check for check in checks if check is not None), None)

    def comparison(self, sweep: SweepOutline) -> Comparison:
        """Return where trials are compared, and how.

        Raises:
            ValueError: If a rule compares at a milestone that the sweep does not have.
        """
        found: Comparison | None = None
        for rule in self.enabled:
            found = rule.comparison(sweep, found) or found
        return RungComparison() if found is None else found

    def begin(self, sweep: SweepOutline) -> tuple[Judging, ...]:
        """Return the rules that may stop a trial which the comparison lets pass, each with a fresh view of the sweep.

        Raises:
            SpecError: If one of them could never judge.
        """
        begun = (rule.begin(sweep) for rule in self.enabled)
        return tuple(judging for judging in begun if judging is not None)


def judged_milestones(sweep: SweepOutline, comparison: Comparison, judging: Sequence[Judging]) -> list[Judged]:
    """Return every milestone at which some rule judges, rising."""
    further = (index for each in judging for index in each.milestones)
    factors = {**dict.fromkeys(further), **comparison.factors}
    return [(index, sweep.levels[index], factors[index]) for index in sorted(factors)]


DEFAULT_POLICY = StoppingPolicy()
"""What a sweep file that says nothing of stopping gets."""
