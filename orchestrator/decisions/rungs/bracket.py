"""Whether the best learning rate of a method is known to lie between two worse ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.decisions.rungs.rung import FAILED, Entry, Rung


@dataclass(frozen=True, slots=True)
class Bracket:
    """The nearest worse trials of the same method below and above the best learning rate (None = there is none)."""

    best: str
    below: str | None
    above: str | None

    @property
    def closed(self) -> bool:
        """Whether there is a worse trial on both sides."""
        return self.below is not None and self.above is not None

    @property
    def open_side(self) -> str:
        """What is missing, as a clause on a trial of the method."""
        sides = [name for name, found in (("lower", self.below), ("higher", self.above)) if found is None]
        return f"whose best learning rate is not bracketed yet (no worse trial at a {' or '.join(sides)} learning rate)"


def find_bracket(rungs: Sequence[Rung], best: Entry | None, rates: Mapping[str, float]) -> Bracket:
    """Return which worse trials enclose the learning rate of a method's best trial at the last of ``rungs``.

    A trial of the same method with a lower (higher) learning rate encloses it from below (above) when it did
    strictly worse at the highest rung where both were judged. A trial that diverged did
    worse; one that failed for another reason says nothing about its learning rate. The nearest is named.

    Args:
        rungs: All rungs up to this one.
        best: The method's best trial there.
        rates: Learning rate of every trial of the method.
    """
    if best is None:
        return Bracket("", None, None)
    centre = rates[best.trial_id]
    sides: dict[bool, tuple[float, str]] = {}
    for trial_id, rate in rates.items():
        if rate == centre or not _did_worse(trial_id, best.trial_id, rungs):
            continue
        candidate = (abs(math.log(rate / centre)), trial_id)
        sides[rate > centre] = min(candidate, sides.get(rate > centre, candidate))
    below, above = sides.get(False), sides.get(True)
    return Bracket(best.trial_id, below[1] if below else None, above[1] if above else None)


def _did_worse(other: str, best: str, rungs: Sequence[Rung]) -> bool:
    for here in reversed(rungs):
        theirs, ours = here.entries.get(other), here.entries.get(best)
        if theirs is not None and ours is not None:
            return theirs.fault != FAILED and theirs.key > ours.key
    return False
