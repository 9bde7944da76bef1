"""The short form of a rule: judge a trial among the trials of its cohort at a milestone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orchestrator.decisions.rules.rule import Case, Finding, Judging, Standing, StoppingRule, SweepOutline


class PeerRule(StoppingRule):
    """A rule that looks at a trial and its cohort at one milestone; it keeps nothing itself.

    Derive from it, make the class a frozen dataclass of its options, give it a ``name``, and write `judge_among`::

        @dataclass(frozen=True)
        class StopHighNorms(PeerRule):
            name = "high_norms"
            limit: float = 10.0

            def judge_among(self, trial, cohort):
                norm = trial.dynamics.grad_norm_mean if trial.dynamics else 0.0
                return Finding(f"its gradient norm {norm:.3g} is above {self.limit:g}") if norm > self.limit else None

    It is asked of the trials that the comparison lets pass, once their cohort has arrived; each of the others stops anyway.
    """

    def milestones(self, sweep: SweepOutline) -> Collection[int]:
        """Return the indices of the milestones at which it judges; all but the last unless a rule says otherwise."""
        return range(len(sweep.levels) - 1)

    def judge_among(self, trial: Standing, cohort: Sequence[Standing]) -> Finding | None:
        """Return why ``trial`` stops, or None where it goes on.

        Args:
            trial: The trial.
            cohort: All trials of its cohort that have arrived there and still count, itself included, by trial id.
        """
        raise NotImplementedError

    def begin(self, sweep: SweepOutline) -> Judging:
        """Return a fresh view of a sweep."""
        return _Peers(self, frozenset(self.milestones(sweep)))


class _Peers:
    """Keeps who stands where, for a `PeerRule`."""

    def __init__(self, rule: PeerRule, milestones: Collection[int]) -> None:
        self.name, self.milestones = rule.name, milestones
        self._rule = rule
        self._seen: dict[tuple[str, int], dict[str, Standing]] = {}

    def arrive(self, standing: Standing) -> None:
        place = (standing.facts.cohort, standing.milestone)
        self._seen.setdefault(place, {})[standing.facts.trial_id] = standing

    def leave(self, cohort: str, trial_id: str) -> None:
        for (name, _), seen in self._seen.items():
            if name == cohort:
                seen.pop(trial_id, None)

    def judge(self, case: Case) -> Finding | None:
        seen = self._seen[case.standing.facts.cohort, case.standing.milestone]
        return self._rule.judge_among(seen[case.entry.trial_id], [seen[trial_id] for trial_id in sorted(seen)])
