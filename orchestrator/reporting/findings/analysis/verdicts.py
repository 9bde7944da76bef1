"""From an effect to a verdict, by the rule that was registered for it, and the n that would decide what is open.

Effects are turned so that more is as claimed; ``m`` is the smallest effect that matters.

``superiority``       reproduced: the 95 % interval lies above 0 and the estimate is at least ``m``;
                      not reproduced: the 95 % interval lies below ``m``.
``equivalence``       reproduced: the 90 % interval lies within -m and m (both one-sided tests at 5 %);
                      not reproduced: the 95 % interval excludes 0, and the estimate is ``m`` or more away from it.
``non_inferiority``   reproduced: the one-sided 95 % interval lies above -m;
                      not reproduced: the 95 % interval lies below 0, and the estimate is -m or less.

Whatever is neither is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

from scipy import stats

from orchestrator.reporting.findings.registration.registration import Rule
from orchestrator.reporting.findings.statistics.estimates import ALPHA, LEVEL, Effect

Verdict = Literal["reproduced", "not reproduced", "undecided"]
MOST_UNITS = 10_000


def judge(effect: Effect, rule: Rule, minimum: float) -> Verdict:
    """Return the verdict on an effect by a rule of this module."""
    if not effect.known:
        return "undecided"
    if rule == "superiority":
        if effect.low > 0 and effect.value >= minimum:
            return "reproduced"
        return "not reproduced" if effect.high < minimum else "undecided"
    if rule == "equivalence":
        if effect.one_sided_low > -minimum and effect.one_sided_high < minimum:
            return "reproduced"
        excluded = effect.low > 0 or effect.high < 0
        return "not reproduced" if excluded and abs(effect.value) >= minimum else "undecided"
    if effect.one_sided_low > -minimum:
        return "reproduced"
    return "not reproduced" if effect.high < 0 and effect.value <= -minimum else "undecided"


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on a finding from those on its primary comparisons: all must be reproduced."""
    told = list(verdicts)
    if "not reproduced" in told:
        return "not reproduced"
    return "reproduced" if told and all(verdict == "reproduced" for verdict in told) else "undecided"


def units_to_decide(effect: Effect, rule: Rule, minimum: float) -> int | None:
    """Return how many units (`Effect.n`) would decide an undecided effect if estimate and variance stay as they are.

    Returns:
        None where it is decided already, nothing is known, or more than ten thousand would be needed: then the
        estimate lies too close to the border for any feasible number.
    """
    if judge(effect, rule, minimum) != "undecided" or not math.isfinite(effect.value) or effect.n < 2:
        return None
    gap, now, quantile = _gap(effect, rule, minimum)
    if not gap > 0:
        return None
    width = _width_of(effect, now, quantile)
    found = next((n for n in _tried(effect.n + 1) if width(n) < gap), None)
    if found is None or found == effect.n + 1:
        return found
    low, high = effect.n + 1, found
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if width(middle) < gap else (middle, high)
    return high


def _gap(effect: Effect, rule: Rule, minimum: float) -> tuple[float, float, float]:
    """Return how short the interval's arm towards the border must become, how long it is now, and its quantile."""
    value, two, one = effect.value, (1 + LEVEL) / 2, 1 - ALPHA
    if rule == "superiority":
        if value >= minimum:
            return value, value - effect.low, two
        return minimum - value, effect.high - value, two
    if rule == "equivalence" and abs(value) < minimum:
        return minimum - abs(value), max(effect.one_sided_high - value, value - effect.one_sided_low), one
    if rule == "equivalence":
        return abs(value), value - effect.low if value > 0 else effect.high - value, two
    if value > -minimum:
        return value + minimum, value - effect.one_sided_low, one
    return -value, effect.high - value, two


def _width_of(effect: Effect, now: float, quantile: float) -> Callable[[int], float]:
    """Return how long the arm is with n units: by Student's t where the deviation is known, else in proportion to 1/sqrt(n)."""
    if math.isfinite(effect.deviation):
        return lambda n: float(stats.t.ppf(quantile, n - 1)) * effect.deviation / math.sqrt(n)
    return lambda n: now * math.sqrt(effect.n / n)


def _tried(start: int) -> Iterable[int]:
    n = start
    while n <= MOST_UNITS:
        yield n
        n = max(n + 1, math.ceil(n * 1.5))
