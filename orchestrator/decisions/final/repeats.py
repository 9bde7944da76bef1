"""Winner against noise: the best recipes are repeated with new seeds until one is better, or they count as tied.

A recipe is a configuration without its seed. Every round gives each candidate that is still in one more seed, the same
new seed for all. After each round the leader is compared with every other candidate by a one-sided t test with the
variance within recipes, pooled over all candidates (it is taken to be equal); who is worse with the asked confidence is
out. Only new seeds are compared: the trials of the search made their recipes candidates by being good, so luck is part of
their scores (docs/explanation/how-sure.md).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.decisions.objective import Key, Objective, is_judgeable

RULE = "repeat"
FIRST_TEST = 2
"""The round of the first comparison: a variance needs two seeds."""

COST_TOLERANCE = 0.1
"""Tied recipes whose costs differ by less than this share of the cheapest count as equally cheap."""

Verdict = Literal["decided", "tied", "not tested"]


@dataclass(frozen=True)
class RepeatRule:
    """When to repeat, and how sure to be.

    Args:
        candidates: How many of the best recipes take part.
        repeats: New seeds per candidate, at most.
        confidence: Probability that no recipe is declared better where the best ones are equal.
    """

    candidates: int = 3
    repeats: int = 0
    confidence: float = 0.95

    @property
    def enabled(self) -> bool:
        """Whether anything can be repeated and compared."""
        return self.candidates > 1 and self.repeats >= FIRST_TEST

    def level(self, candidates: int) -> float:
        """Return the error rate of one comparison (one-sided).

        With m best recipes that are equal, a wrong decision puts at least m - 1 of them out. Each is compared with
        ``candidates - 1`` others in every tested round, so at most m (candidates - 1) rounds times the level of them
        are expected to be out, and by Markov's inequality m - 1 of them are with a probability of at most
        m / (m - 1) <= 2 times (candidates - 1) rounds times the level.
        """
        tests = self.repeats - FIRST_TEST + 1
        return (1 - self.confidence) / (2 * (candidates - 1) * tests)


@dataclass(frozen=True)
class Run:
    """One trial that has ended; ``scores`` is None where it diverged or failed."""

    recipe: str
    seed: int
    scores: Mapping[str, float] | None


@dataclass
class Candidate:
    """A recipe that takes part.

    ``values`` are its new seeds' objectives, turned so that less is better. ``behind`` says why it is out, ``broke`` whether
    a repeat went wrong and no comparison put it there.
    """

    recipe: str
    search_key: Key
    values: list[float] = field(default_factory=list)
    scores: list[Mapping[str, float]] = field(default_factory=list)
    behind: str = ""
    broke: bool = False

    @property
    def mean(self) -> float:
        """Mean over its new seeds; infinite without any."""
        return statistics.fmean(self.values) if self.values else math.inf

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean; None with fewer than two seeds."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Standing:
    """How the comparison stands.

    Args:
        candidates: Best in the search first.
        left: Those of them that are still in.
        wanted: Recipe and seed of the trials that the present round lacks.
        rounds: Rounds that have ended.
        verdict: ``not tested`` while ``wanted`` is not empty, and where fewer than two recipes can be compared.
    """

    candidates: tuple[Candidate, ...] = ()
    left: tuple[Candidate, ...] = ()
    wanted: tuple[tuple[str, int], ...] = ()
    rounds: int = 0
    verdict: Verdict = "not tested"


def standing(
    rule: RepeatRule, objective: Objective, searched: Sequence[Run], repeated: Sequence[Run], first_seed: int
) -> Standing:
    """Return how the comparison stands; a pure function of the trials, so a resumed sweep goes on where it was.

    Args:
        rule: How many candidates, rounds, and the confidence.
        objective: What best means; candidates keep its constraints.
        searched: Completed trials of the search; several seeds of a recipe count by their mean.
        repeated: Repeats that have ended.
        first_seed: Seed of the first round; the next rounds count on. No trial of the search has one of these.
    """
    candidates = choose(rule, objective, searched) if rule.enabled else ()
    if len(candidates) < 2:
        return Standing(candidates, candidates)
    ended = {(run.recipe, run.seed): run for run in repeated}
    left, level = list(candidates), rule.level(len(candidates))
    for number in range(1, rule.repeats + 1):
        seed = first_seed + number - 1
        wanted = tuple((each.recipe, seed) for each in left if (each.recipe, seed) not in ended)
        if wanted:
            return Standing(candidates, tuple(left), wanted, number - 1)
        left = _after_round(left, {each.recipe: ended[each.recipe, seed] for each in left}, objective, number)
        if number >= FIRST_TEST:
            left = _compare(left, candidates, level, objective, number)
        if len(left) == 1:
            return Standing(candidates, tuple(left), (), number, "decided")
        if all(each.behind for each in left):
            return Standing(candidates, tuple(left), (), number, "tied")
    return Standing(candidates, tuple(left), (), rule.repeats, "tied")


def choose(rule: RepeatRule, objective: Objective, searched: Sequence[Run]) -> tuple[Candidate, ...]:
    """Return the best recipes that keep all constraints, by the mean scores of their trials in the search."""
    by_recipe: dict[str, list[Mapping[str, float]]] = {}
    for run in searched:
        if run.scores is not None:
            by_recipe.setdefault(run.recipe, []).append(run.scores)
    keyed = sorted((objective.key(mean_scores(scores)), recipe) for recipe, scores in by_recipe.items())
    sound = [Candidate(recipe, key) for key, recipe in keyed if is_judgeable(key) and key[0] == 0]
    return tuple(sound[: rule.candidates])


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every metric that all rows have."""
    names = set.intersection(*(set(row) for row in rows))
    return {name: statistics.fmean(row[name] for row in rows) for name in sorted(names)}


def recommended(tied: Sequence[Candidate], cost: Mapping[str, float]) -> Candidate:
    """Return the cheapest of tied recipes; of about equally cheap ones the best.

    Args:
        tied: Recipes that could not be told apart; at least one.
        cost: Recipe -> mean training seconds.
    """
    limit = min(cost[each.recipe] for each in tied) * (1 + COST_TOLERANCE)
    return min((each for each in tied if cost[each.recipe] <= limit), key=lambda each: (each.mean, each.recipe))


def _after_round(left: list[Candidate], runs: Mapping[str, Run], objective: Objective, number: int) -> list[Candidate]:
    """Take a round's trials in; a recipe whose repeat broke, or that breaks a constraint now, falls behind.

    Where that is so of all, all stay: then the round tells nothing about which of them is better.
    """
    for each in left:
        scores = runs[each.recipe].scores
        key = None if scores is None else objective.key(scores)
        if scores is None or key is None or not is_judgeable(key):
            each.behind, each.broke = f"its repeat of round {number} diverged, failed, or has no finite result", True
            continue
        each.values.append(key[1])
        each.scores.append(scores)
        if objective.violation(mean_scores(each.scores)) > 0:
            each.behind, each.broke = f"over its new seeds it breaks a constraint (after round {number})", True
    return [each for each in left if not each.behind] or left


def _compare(
    left: list[Candidate], everyone: Sequence[Candidate], level: float, objective: Objective, number: int
) -> list[Candidate]:
    """Return the candidates that are not worse than the leader with the asked confidence."""
    freedom = sum(len(each.values) - 1 for each in everyone if each.values)
    sound = [each for each in left if not each.behind]
    if freedom < 1 or len(sound) < 2:
        return left
    # Imported here: scipy takes a fifth of a second, which reading a sweep without repeats need not spend.
    from scipy.special import stdtrit

    squares = sum(
        statistics.variance(each.values) * (len(each.values) - 1) for each in everyone if len(each.values) > 1
    )
    spread, quantile = math.sqrt(squares / freedom), float(stdtrit(freedom, 1 - level))
    leader = min(sound, key=lambda each: (each.mean, each.recipe))
    for each in sound:
        error = spread * math.sqrt(1 / len(each.values) + 1 / len(leader.values))
        behind = each.mean - leader.mean
        if behind > quantile * error:
            each.behind = f"worse than the leader by {behind:.3g} {objective.label} after {number} new seeds"
            if error:
                each.behind += f" (t = {behind / error:.2f}, {quantile:.2f} needed)"
    return [each for each in sound if not each.behind]
