"""Replay of recorded sweeps under many rules: every rule on every sweep, over many random orders of its trials."""

from __future__ import annotations

import multiprocessing
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from orchestrator.decisions.forecast.model import ForecastModel
from orchestrator.decisions.objective import Objective
from orchestrator.errors import InputError, OrchestratorError
from orchestrator.simulation.checks import check_sweeps
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, simulate
from orchestrator.simulation.figures import FIGURES, Yardstick
from orchestrator.simulation.forecast.intervals import Array, Bootstrap, Estimate
from orchestrator.simulation.recorded.repeat_noise import Noise, noise_of
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.rules import Rule

DRAWS = 20

SUMMARY = {
    "samples_share": ("mean",),
    "makespan_seconds": ("mean",),
    "makespan_share": ("mean",),
    "regret": ("median", "p95"),
    "regret_noise": ("median", "p95"),
    "regret_spread": ("median", "p95"),
    "rank": ("mean", "median"),
    "top_1_kept": ("mean",),
    "top_decile_kept": ("mean",),
    "false_stop_rate": ("mean",),
    "false_stop_top_decile": ("mean",),
    "false_stop_costly": ("mean",),
}
"""Figure -> the statistics that are reported of it, over sweeps and draws."""


@dataclass(frozen=True)
class Progress:
    """How far a replay is: ``done`` of ``total`` pieces (a rule on a sweep), and which was the last."""

    done: int
    total: int
    rule: str
    sweep: str


@dataclass(frozen=True, eq=False)
class RuleResult:
    """What came of one rule; ``values`` has shape [sweeps, draws, figures], figures as in `FIGURES`."""

    rule: Rule
    values: Array

    def of(self, figure: str) -> Array:
        """Return one figure, shape [sweeps, draws]."""
        return np.asarray(self.values[:, :, FIGURES.index(figure)])


@dataclass(frozen=True)
class SweepTruth:
    """A replayed sweep in short."""

    name: str
    trials: int
    levels: int
    noise: Noise


@dataclass(frozen=True, eq=False)
class ReplayReport:
    """The outcome of a replay.

    Attributes:
        objective: What best means.
        clock: Workers and costs.
        draws: Orders of trials per sweep, the same for every rule.
        seed: Of the orders.
        sweeps: What was replayed.
        results: One per rule, in the order asked for.
        notes: What a reader must know (rules left out, noise estimated).
    """

    objective: Objective
    clock: Clock
    draws: int
    seed: int
    sweeps: tuple[SweepTruth, ...]
    results: tuple[RuleResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def regret_figure(self) -> str:
        """The figure that regret is shown in: of noise where it is known for all sweeps, else own units or spreads."""
        if all(sweep.noise.deviation for sweep in self.sweeps):
            return "regret_noise"
        return "regret" if len(self.sweeps) == 1 else "regret_spread"

    @property
    def regret_unit(self) -> str:
        """The unit of `regret_figure` in words."""
        own = f"units of {self.objective.label}"
        words = {"regret_noise": "repeat noise", "regret": own, "regret_spread": "interquartile range of finals"}
        return words[self.regret_figure]

    def summary(self) -> list[dict[str, Estimate]]:
        """Return per rule ``figure_statistic`` -> estimate with its interval."""
        bootstrap = Bootstrap(len(self.sweeps), self.draws)
        wanted = [(figure, statistic) for figure, statistics in SUMMARY.items() for statistic in statistics]
        return [
            {f"{figure}_{name}": bootstrap.estimate(result.of(figure), name) for figure, name in wanted}
            for result in self.results
        ]

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON-able values; per rule the summary over all sweeps, and over each sweep alone."""
        return {
            "objective": self.objective.label,
            "mode": self.objective.mode,
            "clock": vars(self.clock),
            "draws": self.draws,
            "seed": self.seed,
            "regret_unit": self.regret_unit,
            "notes": list(self.notes),
            "sweeps": [{**vars(sweep), "noise": vars(sweep.noise)} for sweep in self.sweeps],
            "rules": [
                {
                    "name": result.rule.name,
                    "group": result.rule.group,
                    "family": result.rule.family,
                    **{name: estimate.as_dict() for name, estimate in row.items()},
                    "per_sweep": {sweep.name: _alone(result, index) for index, sweep in enumerate(self.sweeps)},
                }
                for result, row in zip(self.results, self.summary(), strict=True)
            ],
        }


def replay(
    sweeps: Sequence[RecordedSweep],
    rules: Sequence[Rule],
    objective: Objective,
    clock: Clock | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    jobs: int = 1,
    notes: Sequence[str] = (),
    weights: Mapping[str, ForecastModel] | None = None,
    observer: Callable[[Progress], None] | None = None,
) -> ReplayReport:
    """Run every rule on every sweep over ``draws`` random orders of its trials.

    Args:
        sweeps: Recorded sweeps with different names.
        rules: From `choose_rules`, or your own.
        objective: What best means.
        clock: Workers and costs; one worker and no costs if None.
        draws: Orders of trials per sweep.
        seed: Of the orders.
        jobs: Processes.
        notes: Handed on to the report.
        weights: Weights of our forecast by sweep (those fitted without it); None for the rules' own.
        observer: Told after every piece; must return quickly.

    Raises:
        DataError: If a sweep cannot be judged by the objective, or has too few trials.
        InputError: If no rule or no draw is asked for.
        OrchestratorError: If a rule fails; names rule, sweep and draw.
    """
    if draws < 1 or not rules:
        raise InputError("replay", "draws" if rules else "rules", draws if rules else None, "at least one is needed")
    check_sweeps(sweeps, objective)
    clock, noise = clock or Clock(), noise_of(sweeps, objective)
    yardsticks = [Yardstick(sweep, objective, noise[sweep.name], clock.workers) for sweep in sweeps]
    pieces = list(product(range(len(sweeps)), range(len(rules))))
    work = _Work(tuple(sweeps), tuple(yardsticks), tuple(rules), objective, clock, draws, seed, weights or {})
    values = np.full((len(rules), len(sweeps), draws, len(FIGURES)), np.nan)
    for done, ((sweep, rule), found) in enumerate(zip(pieces, _carried_out(work, pieces, jobs), strict=True), start=1):
        values[rule, sweep] = found
        if observer is not None:
            observer(Progress(done, len(pieces), rules[rule].name, sweeps[sweep].name))
    truths = tuple(SweepTruth(each.name, len(each.trials), len(each.levels), noise[each.name]) for each in sweeps)
    results = tuple(RuleResult(rule, values[index]) for index, rule in enumerate(rules))
    return ReplayReport(objective, clock, draws, seed, truths, results, (*notes, *_noise_notes(truths)))


@dataclass(frozen=True)
class _Work:
    sweeps: tuple[RecordedSweep, ...]
    yardsticks: tuple[Yardstick, ...]
    rules: tuple[Rule, ...]
    objective: Objective
    clock: Clock
    draws: int
    seed: int
    weights: Mapping[str, ForecastModel]

    def piece(self, sweep_index: int, rule_index: int) -> Array:
        """Return the figures of one rule on one sweep, shape [draws, figures]."""
        sweep, rule = self.sweeps[sweep_index], self.rules[rule_index]
        scheduler, rows = rule.make(), []
        if isinstance(scheduler, EngineScheduler) and sweep.name in self.weights:
            scheduler = scheduler.with_weights(self.weights[sweep.name])
        for draw in range(self.draws):
            order, seed = self._order(sweep, draw)
            try:
                run = simulate(sweep, scheduler, self.objective, self.clock, order, seed)
            except InputError:
                raise
            except Exception as error:
                what = f"rule {rule.name} failed on sweep {sweep.name}, draw {draw}: {type(error).__name__}: {error}"
                raise OrchestratorError(what) from error
            rows.append(list(self.yardsticks[sweep_index].measure(run).as_dict().values()))
        return np.asarray(rows, dtype=np.float64)

    def _order(self, sweep: RecordedSweep, draw: int) -> tuple[list[str], int]:
        """Return a random order and a seed that depend on the sweep's name, not on which others are replayed."""
        random = np.random.default_rng([self.seed, zlib.crc32(sweep.name.encode()), draw])
        trials = sorted(trial.trial for trial in sweep.trials)
        return [trials[int(index)] for index in random.permutation(len(trials))], int(random.integers(2**31))


_IN_PROCESS: list[_Work] = []


def _carried_out(work: _Work, pieces: Sequence[tuple[int, int]], jobs: int) -> Iterator[Array]:
    if jobs <= 1:
        yield from (work.piece(*piece) for piece in pieces)
        return
    # Forked, so that sweeps need not be sent and rules may be any callable.
    _IN_PROCESS.append(work)
    try:
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            yield from pool.imap(_piece_in_process, pieces)
    finally:
        _IN_PROCESS.clear()


def _piece_in_process(piece: tuple[int, int]) -> Array:
    return _IN_PROCESS[0].piece(*piece)


def _alone(result: RuleResult, sweep: int) -> dict[str, float | None]:
    values = {}
    for figure, statistics in SUMMARY.items():
        single = result.of(figure)[sweep : sweep + 1]
        for name in statistics:
            values[f"{figure}_{name}"] = Bootstrap(1, single.shape[1], resamples=1).estimate(single, name)
    return {name: estimate.as_dict()["value"] for name, estimate in values.items()}


def _noise_notes(sweeps: Iterable[SweepTruth]) -> list[str]:
    estimated = [sweep.name for sweep in sweeps if sweep.noise.source == "estimated"]
    unknown = [sweep.name for sweep in sweeps if sweep.noise.source == "unknown"]
    notes = []
    if estimated:
        notes.append(f"repeat noise estimated from the other sweeps for {', '.join(estimated)}")
    if unknown:
        notes.append(f"repeat noise unknown (no two seeds of one good configuration) for {', '.join(unknown)}")
    return notes
