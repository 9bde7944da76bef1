"""One cohort's rungs: where its trials stand, who may still come, and whose promotion or stop is certain.

With ``size`` trials arrived at a rung, ``outstanding`` that may still arrive and ``places(n)`` = ceil(n / reduction
factor), a trial of rank ``rank`` (1 = best) is

* certain to go on when ``rank + outstanding <= places(size + outstanding)``: even if all others come and beat it;
* certainly outside the best when ``rank > places(size + outstanding)``: even if all others come and are worse.

Both say at any moment what they would say when everybody has arrived, so in a closed cohort the outcome does not
depend on the order of arrival. ``outstanding`` counts the trials that are still announced, those that train
towards this rung or a lower one, and those that wait at a lower one; it is infinite while a cohort is open-ended.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.decisions.objective import WORST, Key, is_judgeable
from orchestrator.decisions.rungs.rung import Entry, Rung
from orchestrator.decisions.trials import TrialProgress

RULE = "rungs"
DIVERGED, FAILED = "diverged", "failed"


@dataclass(slots=True)
class Seat:
    """Where a trial stands: on its way to rung ``rung`` (or waiting there); ``alive`` while it may still arrive somewhere."""

    method: str
    learning_rate: float
    rung: int = 0
    waiting: bool = False
    alive: bool = True


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rung says of one of its waiting trials.

    ``basis`` is one of ``top`` (within the places), ``quota`` (kept for its method), ``cut`` (outside the places),
    ``unjudgeable`` (its result is not a number), ``async`` (open-ended cohort: within the places of those that have
    arrived) or ``idle`` (a free slot took the best that waited).
    """

    entry: Entry
    promote: bool
    basis: str


class RungSystem:
    """The rungs of one cohort.

    Args:
        name: The cohort.
        rungs: (milestone index, samples-seen level, reduction factor or None) of every judged milestone, rising.
        quota: Best trials per method that go on until the method's best learning rate is bracketed.

    Attributes:
        expected: How many trials were announced; None while unknown.
        closed: Whether no new trial will be added.
        presumed_complete: Judge now as if it were closed (nothing trains and nothing can start).
    """

    def __init__(self, name: str, rungs: Sequence[tuple[int, int, float | None]], quota: int) -> None:
        self.name, self.quota = name, quota
        self.rungs = [Rung(index, level, factor) for index, level, factor in rungs]
        self.seats: dict[str, Seat] = {}
        self.expected: int | None = None
        self.closed = False
        self.presumed_complete = False
        self._coming: list[Counter[str]] = [Counter() for _ in range(len(rungs) + 1)]
        self._waiting: list[Counter[str]] = [Counter() for _ in range(len(rungs))]
        self._of_method: dict[str, list[str]] = {}

    # -- events ----------------------------------------------------------------------------------

    def add(self, trial_id: str, method: str, learning_rate: float) -> None:
        """Seat a new trial before the first rung."""
        self.seats[trial_id] = Seat(method, learning_rate)
        self._of_method.setdefault(method, []).append(trial_id)
        self._count(self.seats[trial_id], 1)

    def arrive(self, trial_id: str, rung: int, key: Key) -> Entry:
        """Record a living trial's result at a rung; it waits there from now on."""
        seat = self.seats[trial_id]
        self._move(seat, rung, waiting=True)
        entry = Entry(trial_id, seat.method, key, "" if is_judgeable(key) else "not a number")
        self.rungs[rung].record(entry, waiting=True)
        return entry

    def settle(self, trial_id: str, promote: bool) -> None:
        """Let a waiting trial go on to the next rung, or end it."""
        seat = self.seats[trial_id]
        self.rungs[seat.rung].settle(trial_id, promote)
        if promote:
            self._move(seat, seat.rung + 1, waiting=False)
        else:
            self._retire(seat)

    def end(self, trial_id: str, fault: str) -> None:
        """End a living trial that diverged or failed: it counts as arrived, and ranks last, where it was heading."""
        seat = self.seats[trial_id]
        if not seat.alive:
            return
        self._retire(seat)
        if seat.rung < len(self.rungs):
            self.rungs[seat.rung].record(Entry(trial_id, seat.method, WORST, fault), waiting=False)

    def complete(self, trial_id: str) -> None:
        """A trial has trained to its end."""
        self._retire(self.seats[trial_id])

    def revive(self, trial_id: str) -> None:
        """Seat a failed trial again where it was heading; the last place that its failure took is given back."""
        seat = self.seats[trial_id]
        if seat.rung < len(self.rungs):
            self.rungs[seat.rung].withdraw(trial_id)
        seat.alive, seat.waiting = True, False
        self._count(seat, 1)

    def forget(self, trial_id: str) -> None:
        """Remove a trial as if it had never been announced."""
        seat = self.seats[trial_id]
        self._retire(seat)
        for rung in self.rungs:
            rung.withdraw(trial_id)
        del self.seats[trial_id]
        self._of_method[seat.method].remove(trial_id)
        if self.expected is not None:
            self.expected -= 1

    def note(self, trial: TrialProgress, rung: int, key: Key) -> None:
        """Hear of a trial that has arrived; rungs judge by the key alone and keep nothing of it."""

    def finish(self, trial_id: str, key: Key) -> None:
        """Hear how a trial that trained to its end has ended."""

    def drop(self, trial_id: str) -> None:
        """Hear of a trial that does not count any more."""

    # -- questions -------------------------------------------------------------------------------

    def rule_at(self, rung: int) -> str:
        """Return the name of the rule that compares trials at a rung; empty where none of this system does."""
        return "" if self.rungs[rung].reduction_factor is None else RULE

    def outstanding(self, rung: int, method: str | None = None) -> float:
        """Return how many trials (of one method, or of all) may still arrive at a rung; infinity when unknown."""
        complete = self.closed or self.presumed_complete
        if not complete and self.expected is None:
            return math.inf
        announced = 0 if complete or self.expected is None else max(0, self.expected - len(self.seats))
        counters = [*self._coming[: rung + 1], *self._waiting[:rung]]
        return announced + sum(c.total() if method is None else c[method] for c in counters)

    @property
    def training(self) -> int:
        """How many living trials wait for no verdict (they train, or could)."""
        return sum(counter.total() for counter in self._coming)

    def waiting_rungs(self) -> Iterator[int]:
        """Yield positions of rungs where trials wait, lowest first."""
        return (position for position, rung in enumerate(self.rungs) if rung.waiting_count)

    def certain_for(self, rung: int, entry: Entry) -> Verdict | None:
        """Return the verdict on a waiting trial if no later arrival can change it."""
        here, outstanding = self.rungs[rung], self.outstanding(rung)
        if not is_judgeable(entry.key):
            return Verdict(entry, False, "unjudgeable")
        if math.isinf(outstanding):
            return None
        rank, places = here.rank(entry), here.places(here.size + outstanding)
        if rank + outstanding <= places:
            return Verdict(entry, True, "top")
        if rank <= places:
            return None
        if here.rank_in_method(entry) > self.quota:
            return Verdict(entry, False, "cut")
        if self.outstanding(rung, entry.method) == 0:
            bracketed = self.bracket(rung, entry.method).closed
            return Verdict(entry, not bracketed, "cut" if bracketed else "quota")
        return None

    def certain(self, rung: int, stops_only: bool = False) -> list[Verdict]:
        """Return the verdicts at a rung that no later arrival can change, promotions first, best first.

        Walks from the best until the first that is not certain, then from the worst up to the places, so the
        cost follows the number of verdicts and not of the trials that wait.
        """
        here, outstanding = self.rungs[rung], self.outstanding(rung)
        places = math.inf if math.isinf(outstanding) else here.places(here.size + outstanding)
        found: list[Verdict] = []
        for entry in () if stops_only else here.best_waiting():
            verdict = self.certain_for(rung, entry)
            if verdict is None or verdict.basis != "top":
                break
            found.append(verdict)
        for entry in here.worst_waiting():
            if is_judgeable(entry.key) and here.rank(entry) <= places:
                break
            verdict = self.certain_for(rung, entry)
            if verdict is not None and not (stops_only and verdict.promote):
                found.append(verdict)
        return sorted(found, key=lambda verdict: (not verdict.promote, verdict.entry.place))

    def open_ended(self, rung: int) -> Verdict | None:
        """Return the next promotion of the asynchronous rule (rank <= floor(arrived / factor)) in an open-ended cohort."""
        here = self.rungs[rung]
        entry = next(here.best_waiting(), None)
        if entry is None or not math.isinf(self.outstanding(rung)):
            return None
        places = here.size if here.reduction_factor is None else math.floor(here.size / here.reduction_factor + 1e-9)
        return Verdict(entry, True, "async") if here.rank(entry) <= places else None

    def idle_candidate(self, rung: int) -> tuple[float, Verdict] | None:
        """Return the waiting trial that a free slot should take, with how far its promotion is from certain.

        None when the best that waits is outside the places: of all that may come, or in an open-ended cohort of
        those that have arrived.
        """
        here, outstanding = self.rungs[rung], self.outstanding(rung)
        entry = next(here.best_waiting(), None)
        if entry is None:
            return None
        more = 0 if math.isinf(outstanding) else outstanding
        rank, places = here.rank(entry), here.places(here.size + more)
        return (rank + more - places, Verdict(entry, True, "idle")) if rank <= places else None

    def bracket(self, rung: int, method: str) -> Bracket:
        """Return which worse trials enclose the learning rate of a method's best trial at a rung.

        A trial of the same method with a lower (higher) learning rate encloses it from below (above) when it did
        strictly worse at the highest rung, up to this one, where both were judged. A trial that diverged did
        worse; one that failed for another reason says nothing about its learning rate. The nearest is named.
        """
        best = self.rungs[rung].best(method)
        if best is None:
            return Bracket("", None, None)
        centre = self.seats[best.trial_id].learning_rate
        sides: dict[bool, tuple[float, str]] = {}
        for trial_id in self._of_method[method]:
            rate = self.seats[trial_id].learning_rate
            if rate == centre or not self._did_worse(trial_id, best.trial_id, rung):
                continue
            candidate = (abs(math.log(rate / centre)), trial_id)
            sides[rate > centre] = min(candidate, sides.get(rate > centre, candidate))
        below, above = sides.get(False), sides.get(True)
        return Bracket(best.trial_id, below[1] if below else None, above[1] if above else None)

    def kept_by_quota(self, rung: int, entry: Entry) -> bool:
        """Whether a trial is among the best of a method whose best learning rate has no bracket yet."""
        return self.rungs[rung].rank_in_method(entry) <= self.quota and not self.bracket(rung, entry.method).closed

    # -- inside ----------------------------------------------------------------------------------

    def _did_worse(self, other: str, best: str, rung: int) -> bool:
        for here in reversed(self.rungs[: rung + 1]):
            theirs, ours = here.entries.get(other), here.entries.get(best)
            if theirs is not None and ours is not None:
                return theirs.fault != FAILED and theirs.key > ours.key
        return False

    def _count(self, seat: Seat, change: int) -> None:
        counters = self._waiting if seat.waiting else self._coming
        counters[seat.rung][seat.method] += change

    def _move(self, seat: Seat, rung: int, waiting: bool) -> None:
        self._count(seat, -1)
        seat.rung, seat.waiting = rung, waiting
        self._count(seat, 1)

    def _retire(self, seat: Seat) -> None:
        if seat.alive:
            self._count(seat, -1)
            seat.alive, seat.waiting = False, False
