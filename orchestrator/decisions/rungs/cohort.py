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
from itertools import takewhile
from typing import ClassVar, NamedTuple

from orchestrator.decisions.objective import WORST, Key, Objective, is_judgeable
from orchestrator.decisions.rungs.bracket import Bracket, find_bracket
from orchestrator.decisions.rungs.rung import Entry, Rung
from orchestrator.decisions.trials import Dynamics, TrialFacts, TrialProgress
from orchestrator.records import Scalar

RULE = "rungs"
Evidence = dict[str, Scalar]


@dataclass(slots=True)
class Seat:
    """Where a trial stands: on its way to rung ``rung`` (or waiting there); ``alive`` while it may still arrive somewhere."""

    method: str
    learning_rate: float
    rung: int = 0
    waiting: bool = False
    alive: bool = True


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


class News(NamedTuple):
    """A trial that has arrived at a rung, with what was seen of it by then."""

    facts: TrialFacts
    dynamics: Dynamics
    rung: int
    key: Key


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
        news: Who has arrived since verdicts were last asked for, where they wait for all.
    """

    rule: ClassVar[str] = RULE
    """The rule that compares."""

    waits_for_all: ClassVar[bool] = False
    """Whether there is a verdict only once nobody can come any more (but on results that are not a number)."""

    def __init__(self, name: str, rungs: Sequence[tuple[int, int, float | None]], quota: int) -> None:
        self.name, self.quota = name, quota
        self.rungs = [Rung(index, level, factor) for index, level, factor in rungs]
        self.seats: dict[str, Seat] = {}
        self.expected: int | None = None
        self.closed = False
        self.presumed_complete = False
        self.news: list[News] = []
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
        if self.waits_for_all:
            self.news.append(News(trial.facts, trial.dynamics, rung, key))

    def finish(self, trial_id: str, key: Key) -> None:
        """Hear how a trial that trained to its end has ended."""

    def drop(self, trial_id: str) -> None:
        """Hear of a trial that does not count any more."""

    # -- questions -------------------------------------------------------------------------------

    def rule_at(self, rung: int) -> str:
        """Return the name of the rule that compares trials at a rung; empty where none of this system does."""
        compares = self.waits_for_all or self.rungs[rung].reduction_factor is not None
        return self.rule if compares else ""

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
        if not is_judgeable(entry.key):
            return Verdict(entry, False, "unjudgeable")
        outstanding = self.outstanding(rung)
        if math.isinf(outstanding) or (self.waits_for_all and outstanding > 0):
            return None
        return self._verdict(rung, entry, outstanding)

    def certain(self, rung: int, stops_only: bool = False) -> list[Verdict]:
        """Return the verdicts at a rung that no later arrival can change, promotions first, best first."""
        outstanding = self.outstanding(rung)
        if self.waits_for_all and outstanding > 0:
            found = list(self._unjudgeable(rung))
        else:
            found = self._verdicts(rung, outstanding, stops_only)
        return sorted(found, key=lambda verdict: (not verdict.promote, verdict.entry.place))

    def open_ended(self, rung: int) -> Verdict | None:
        """Return the next promotion of the asynchronous rule (rank <= floor(arrived / factor)) in an open-ended cohort."""
        here = self.rungs[rung]
        entry = next(here.best_waiting(), None)
        # Where all are waited for nobody goes on before: how many will is not known.
        if entry is None or self.waits_for_all or not math.isinf(self.outstanding(rung)):
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
        """Return which worse trials enclose the learning rate of a method's best trial at a rung."""
        rates = {trial_id: self.seats[trial_id].learning_rate for trial_id in self._of_method.get(method, ())}
        return find_bracket(self.rungs[: rung + 1], self.rungs[rung].best(method), rates)

    def kept_by_quota(self, rung: int, entry: Entry) -> bool:
        """Whether a trial is among the best of a method whose best learning rate has no bracket yet."""
        return self.rungs[rung].rank_in_method(entry) <= self.quota and not self.bracket(rung, entry.method).closed

    # -- what is said of a trial ---------------------------------------------------------------------

    def evidence(self, rung: int, entry: Entry, objective: Objective) -> Evidence:
        """Return the numbers behind a decision at a rung; None stands for a value that is not finite."""
        here, outstanding = self.rungs[rung], self.outstanding(rung)
        places = here.places(here.size + (0 if math.isinf(outstanding) else outstanding))
        return {
            "objective": objective.label,
            "mode": objective.mode,
            "value": _value(entry.key, objective),
            "violation": entry.key[0] if math.isfinite(entry.key[0]) else None,
            "cut_off": _value(here.cut_off(places), objective),
            "rank": here.rank(entry),
            "rung_size": here.size,
            "places": places,
            "outstanding": None if math.isinf(outstanding) else int(outstanding),
            "reduction_factor": here.reduction_factor,
            "milestone": here.index,
            "level": here.level,
            "method": entry.method,
            "rank_in_method": here.rank_in_method(entry),
        }

    def standing(self, rung: int, entry: Entry, objective: Objective) -> str:
        """Return where a trial stands: objective, value, rank, cohort, milestone."""
        here = self.rungs[rung]
        value = _value(entry.key, objective)
        shown = "is not a number" if value is None else f"{value:.4g}"
        if value is not None and entry.key[0] > 0:
            broken = " and ".join(constraint.label for constraint in objective.constraints) or "a constraint"
            shown += f" (breaks {broken} by {entry.key[0]:.3g})"
        return f"{objective.label} {shown} ranks {here.rank(entry)} of {here.size} in cohort {self.name} {here.where}"

    def pause_reason(self, rung: int, entry: Entry, objective: Objective) -> str:
        """Return the sentence of a trial that waits at a rung."""
        outstanding = self.outstanding(rung)
        others = "an unknown number of trials" if math.isinf(outstanding) else f"{outstanding:.0f} more trials"
        where = self.standing(rung, entry, objective)
        if outstanding == 0:
            return f"Waits: {where}; all trials have arrived."
        return f"Waits: {where} so far; {others} may still arrive."

    # -- inside ----------------------------------------------------------------------------------

    def _verdict(self, rung: int, entry: Entry, outstanding: float) -> Verdict | None:
        here = self.rungs[rung]
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

    def _verdicts(self, rung: int, outstanding: float, stops_only: bool) -> list[Verdict]:
        """Walk from the best until the first that is not certain, then from the worst up to the places.

        So the cost follows the number of verdicts and not of the trials that wait.
        """
        here = self.rungs[rung]
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
        return found

    def _unjudgeable(self, rung: int) -> Iterator[Verdict]:
        for entry in takewhile(lambda entry: not is_judgeable(entry.key), self.rungs[rung].worst_waiting()):
            yield Verdict(entry, False, "unjudgeable")

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


def _value(key: Key, objective: Objective) -> float | None:
    return objective.value_of(key) if is_judgeable(key) else None
