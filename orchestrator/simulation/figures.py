"""What a simulated run is judged by: cost, regret, rank, and what was stopped that should not have been."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from orchestrator.decisions.objective import Objective
from orchestrator.records import Outcome
from orchestrator.simulation.engine.simulator import Replay
from orchestrator.simulation.engine.trial_course import courses_of
from orchestrator.simulation.recorded.repeat_noise import Noise, finals
from orchestrator.simulation.recorded.sweep import RecordedSweep


@dataclass(frozen=True)
class Figures:
    """One simulated run, in numbers; NaN where a number does not exist.

    Attributes:
        samples_share: Samples trained over those of all trials trained to their own end.
        makespan_seconds: Simulated time.
        makespan_share: The same over what the recorded trials would take back to back on these workers without
            stopping, start-up and evaluation.
        regret: Final objective (as recorded at its end) of the chosen trial, less that of the best, in the
            objective's own units, 0 or above. Where nothing was chosen, or a trial without a final result, the
            worst final result counts.
        regret_noise: The same in units of repeat noise.
        regret_spread: The same as a share of the interquartile range of all finals.
        rank: Rank of the chosen trial among all, 1 = best.
        top_1_kept: 1 when a best trial was trained to its end.
        top_decile_kept: Share of the best tenth of trials (rounded up) that were trained to their end.
        false_stop_rate: Share of the stopped trials that belong to the best tenth; 0 when none was stopped.
        false_stop_top_decile: Share of the best tenth that were stopped.
        false_stop_costly: Share of the best tenth that were stopped and end better than the chosen trial by more
            than one repeat noise (by anything where noise is unknown): stops that cost quality, not only rank.
    """

    samples_share: float
    makespan_seconds: float
    makespan_share: float
    regret: float
    regret_noise: float
    regret_spread: float
    rank: float
    top_1_kept: float
    top_decile_kept: float
    false_stop_rate: float
    false_stop_top_decile: float
    false_stop_costly: float

    def as_dict(self) -> dict[str, float]:
        """Return figure -> value."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


FIGURES = tuple(field.name for field in fields(Figures))


class Yardstick:
    """A recorded sweep's truth, against which any number of runs is measured.

    Args:
        sweep: The recorded sweep.
        objective: What best means.
        noise: Of this sweep.
        workers: Workers of the simulated runs.
    """

    def __init__(self, sweep: RecordedSweep, objective: Objective, noise: Noise, workers: int) -> None:
        self.noise = noise
        self._finals: Mapping[str, float] = finals(sweep, objective)
        ranked = sorted(self._finals, key=lambda trial_id: (self._finals[trial_id], trial_id))
        self._trials = len(sweep.trials)
        self._top = ranked[: math.ceil(self._trials / 10)]
        self._best, self._worst = (
            (self._finals[ranked[0]], self._finals[ranked[-1]]) if ranked else (math.nan, math.nan)
        )
        self._bests = {trial_id for trial_id, value in self._finals.items() if value == self._best}
        self._samples = sum(courses_of(sweep).stations[trial.trial][-1].samples_seen for trial in sweep.trials)
        self._ideal_seconds = sum(trial.seconds for trial in sweep.trials) / workers

    def measure(self, replay: Replay) -> Figures:
        """Return the figures of a run."""
        regret = self._finals.get(replay.chosen or "", self._worst) - self._best
        done = {trial_id for trial_id, outcome in replay.outcomes.items() if outcome is Outcome.COMPLETED}
        # A trial that a worker halted although it was recorded to its end was stopped, whatever it is called.
        stopped = [
            trial_id
            for trial_id, outcome in replay.outcomes.items()
            if outcome is Outcome.STOPPED or (outcome is Outcome.DIVERGED and trial_id in self._finals)
        ]
        lost = [trial_id for trial_id in self._top if trial_id not in done]
        margin = regret - (self.noise.deviation or 0.0)
        costly = [trial_id for trial_id in lost if self._finals[trial_id] - self._best < margin]
        return Figures(
            samples_share=replay.samples_total / self._samples if self._samples else math.nan,
            makespan_seconds=replay.makespan_seconds,
            makespan_share=replay.makespan_seconds / self._ideal_seconds if self._ideal_seconds else math.nan,
            regret=regret,
            regret_noise=_ratio(regret, self.noise.deviation),
            regret_spread=_ratio(regret, self.noise.spread),
            rank=self._rank(replay.chosen),
            top_1_kept=float(bool(self._bests & done)),
            top_decile_kept=1 - len(lost) / len(self._top) if self._top else math.nan,
            false_stop_rate=len(lost) / len(stopped) if stopped else 0.0,
            false_stop_top_decile=len(lost) / len(self._top) if self._top else math.nan,
            false_stop_costly=len(costly) / len(self._top) if self._top else math.nan,
        )

    def _rank(self, chosen: str | None) -> float:
        if chosen is None or chosen not in self._finals:
            return float(self._trials)
        return 1.0 + sum(value < self._finals[chosen] for value in self._finals.values())


def _ratio(regret: float, unit: float | None) -> float:
    if not unit:
        return math.nan if unit is None or regret else 0.0
    return regret / unit
