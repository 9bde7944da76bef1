"""The audit: which stopped trials are trained on to the end, and what they say of the rules that stopped them.

A false stop is a stopped trial that, trained on, would have been in the top set. Two top sets are measured: the best
trial that was not audited, and the best tenth of all trials of the search.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.decisions.objective import Key, is_judgeable
from orchestrator.decisions.rules.divergence import RULE as DIVERGENCE

RULE = "audit"
_CERTAIN = frozenset({DIVERGENCE, "failure", "user"})
"""What ends a trial beside the rules that judge it."""

CONFIDENCE = 0.95
RESAMPLES = 10_000
_GOLDEN = (math.sqrt(5) - 1) / 2

Verdict = Literal["too high", "within", "too few", "unknown"]


def is_audited(rule: str) -> bool:
    """Whether stops by a rule are audited: it judges trials before their end, so it can be wrong about the order."""
    return rule not in _CERTAIN


@dataclass(frozen=True)
class AuditDraw:
    """Draws trials in the order in which they are stopped.

    The k-th stop has the number ``start + k * (golden ratio)`` modulo 1 and is drawn where that lies under ``share``.
    With a random start every stop is drawn with probability ``share``, and the draws are spread evenly over the
    stops, as in systematic sampling. Unlike there, a higher share draws the same trials and more, so that a finished
    audit can be extended.

    Args:
        share: Share of the stops to draw, 0 to 1.
        start: Random start in [0, 1).
    """

    share: float
    start: float

    @classmethod
    def seeded(cls, share: float, *words: object) -> AuditDraw:
        """Return a draw whose start follows from ``words`` (the sweep's name and seed)."""
        digest = hashlib.sha256("\n".join(map(str, words)).encode()).digest()
        return cls(share, int.from_bytes(digest[:6], "big") / 2**48)

    def takes(self, place: int) -> bool:
        """Whether the stop at ``place`` (from 0, in the order of stops) is drawn."""
        return (self.start + place * _GOLDEN) % 1.0 < self.share

    def count(self, stops: int) -> int:
        """Return how many of the first ``stops`` are drawn."""
        return sum(map(self.takes, range(stops)))


@dataclass(frozen=True)
class Rate:
    """``count`` of ``total``, with the interval of Clopper and Pearson (1934), exact for a binomial count."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The measured rate."""
        return self.count / self.total

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        if self.count == 0:
            return 0.0
        return _beta_quantile(self.count, self.total - self.count + 1, (1 - CONFIDENCE) / 2)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        if self.count == self.total:
            return 1.0
        return _beta_quantile(self.count + 1, self.total - self.count, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class AuditFigures:
    """What the audited trials say.

    Args:
        beat_best: Audited trials that end better than the best trial that was not audited.
        best_tenth: Audited trials that end in the best tenth of the search.
        places: How many trials the best tenth holds.
        regret: Mean over the audited trials of how much better than that best trial they end, 0 where not better, in
            units of the objective.
        interval: 95 % bootstrap interval of the regret; None with fewer than two trials or where all regrets are 0.
        tolerated: The false-stop rate that the user tolerates; None where none is named.
    """

    beat_best: Rate
    best_tenth: Rate
    places: int
    regret: float
    interval: tuple[float, float] | None
    tolerated: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether the share of audited trials that beat the best is more than what is tolerated."""
        if self.tolerated is None:
            return "unknown"
        if self.beat_best.low > self.tolerated:
            return "too high"
        return "within" if self.beat_best.high <= self.tolerated else "too few"


def measure(
    audited: Sequence[Key],
    completed: Sequence[Key],
    stopped: int,
    trials: int,
    tolerance: float,
    tolerated: float | None,
) -> AuditFigures | None:
    """Measure the stops by their audited trials.

    The place of an audited trial counts the completed trials that are better, and every better audited one for as many
    stopped trials as it stands for.

    Args:
        audited: Final key of every audited trial that ended; `WORST` where it diverged.
        completed: Final keys of the trials that the search itself trained to the end.
        stopped: How many trials were stopped by comparison, audited ones among them.
        trials: How many trials the search has.
        tolerance: Two results this close (in units of the objective) count as equal.
        tolerated: Tolerated false-stop rate, or None.

    Returns:
        None where there is nothing to compare: no audited trial has ended, or no other has a finite result.
    """
    best = min(completed, default=None)
    if not audited or best is None or not is_judgeable(best):
        return None
    number = len(audited)
    weight = (stopped - 1) / (number - 1) if number > 1 else 1.0
    places = math.ceil(trials / 10)
    ranks = [1 + sum(key < mine for key in completed) + weight * sum(key < mine for key in audited) for mine in audited]
    lost = np.array([_margin(mine, best) for mine in audited])
    return AuditFigures(
        beat_best=Rate(sum(_beats(mine, best, tolerance) for mine in audited), number),
        best_tenth=Rate(
            sum(is_judgeable(key) and rank <= places for key, rank in zip(audited, ranks, strict=True)), number
        ),
        places=places,
        regret=float(lost.mean()),
        interval=_bootstrap(lost),
        tolerated=tolerated,
    )


def _beats(mine: Key, best: Key, tolerance: float) -> bool:
    return mine[0] < best[0] or (mine[0] == best[0] and best[1] - mine[1] > tolerance)


def _margin(mine: Key, best: Key) -> float:
    return max(0.0, best[1] - mine[1]) if mine <= best else 0.0


def _bootstrap(values: np.ndarray) -> tuple[float, float] | None:
    """Return the percentile interval of the mean; the same values give the same interval."""
    if len(values) < 2 or not values.any():
        return None
    drawn = np.random.default_rng(0).choice(values, size=(RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _beta_quantile(a: float, b: float, probability: float) -> float:
    # Imported here: scipy takes a fifth of a second, which reading a sweep without an audit need not spend.
    from scipy.special import betaincinv

    return float(betaincinv(a, b, probability))
