"""Settling: which paused trials go on or end now, over all cohorts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from orchestrator.decisions.engine.judge import Judge
from orchestrator.decisions.rungs.cohort import RungSystem, Verdict
from orchestrator.records import Action, Decision


class Settlement:
    """One call of `StoppingEngine.settle`: decisions are applied one by one, since each may free the next.

    Args:
        judge: Turns verdicts into decisions.
        apply: Brings the engine into the state after a decision.
    """

    def __init__(self, judge: Judge, apply: Callable[[Decision], None]) -> None:
        self._judge, self._apply = judge, apply
        self.decisions: list[Decision] = []
        self.promotions = 0

    def certain(self, systems: Iterable[RungSystem]) -> None:
        """Take every decision that no later arrival can change."""
        for system in systems:
            # Lowest rung first: a stop down there means one trial less to wait for further up.
            for rung in list(system.waiting_rungs()):
                for decision in self._judge.certain(system, rung):
                    self._take(decision)

    def open_ended(self, systems: Mapping[str, RungSystem], slots: int) -> None:
        """Promote by the asynchronous rule in open-ended cohorts, highest rung first, while slots are free."""
        if self.promotions >= slots:
            return
        for system in systems.values():
            for rung in reversed(list(system.waiting_rungs())):
                while self.promotions < slots and (verdict := system.open_ended(rung)) is not None:
                    self._take(self._judge.judge(system, rung, verdict))

    def stalled(self, systems: Mapping[str, RungSystem]) -> None:
        """Judge every waiting trial as if its cohort were closed: nothing trains and nothing can start.

        Who has not come by now comes, if at all, after these trials: an open-ended cohort goes on in waves.
        """
        for system in systems.values():
            system.presumed_complete = True
        self.certain(systems.values())
        for system in systems.values():
            system.presumed_complete = False

    def idle(self, systems: Mapping[str, RungSystem], slots: int) -> None:
        """Give slots that would stay idle to the waiting trials whose promotion is nearest to certain."""
        while self.promotions < slots:
            offers = [
                (offer[0], rung, offer[1].entry.place, system, offer[1])
                for system in systems.values()
                for rung in system.waiting_rungs()
                if (offer := system.idle_candidate(rung)) is not None
            ]
            if not offers:
                return
            _, rung, _, system, verdict = min(offers, key=_nearest)
            self._take(self._judge.judge(system, rung, verdict))

    def _take(self, decision: Decision) -> None:
        self.decisions.append(decision)
        self.promotions += decision.action is Action.CONTINUE
        self._apply(decision)


def _nearest(offer: tuple[float, int, object, RungSystem, Verdict]) -> tuple[float, int, object]:
    # Then the cheaper (lower) rung, then the better result.
    return offer[:3]
