"""What completed trials teach the forecast, on recorded sweeps; each sweep is forecast by weights fitted on the others.

Two things are measured. *Where the others will land*: a third of the better half of a cohort has trained to its end; by how
much is the final objective of the rest of that half wrong, before and after that is known. *A second wave*: a random half
of a sweep's trials runs first, the other half comes when it has ended (more trials by `orchestrate extend`, or a searcher
that proposes in waves); what the second half costs and which trial the sweep chooses, with and without learning.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from orchestrator.decisions.engine.engine import StoppingEngine, StoppingPolicy, SweepOutline
from orchestrator.decisions.forecast.forecast import Survey, forecast, survey
from orchestrator.decisions.forecast.model import ForecastModel
from orchestrator.decisions.forecast.panel import Array
from orchestrator.decisions.objective import Key, Objective
from orchestrator.decisions.rules.forecast import ForecastRule
from orchestrator.decisions.rules.rungs import RungRule
from orchestrator.decisions.rungs.cohort import RungSystem
from orchestrator.records import Outcome, TrialState
from orchestrator.simulation.engine.trial_course import courses_of
from orchestrator.simulation.forecast.fitting import (
    SMALLEST_PANEL,
    common_metrics,
    left_out_models,
    mode_of,
    observation_at,
)
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.recorded.repeat_noise import noise_of
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.replay_files import recorded_files
from tests.benchmarks.bench_stopping import AWAY, IN_DISTRIBUTION, print_table
from tests.benchmarks.common import machine
from tests.worlds.engines import observe

METRICS = (IN_DISTRIBUTION, *AWAY)
DRAWS = 4


def value_errors(
    sweep: RecordedSweep, metric: str, model: ForecastModel, draws: int
) -> list[tuple[float, float, float]]:
    """Return (share of training, error before, error after) per milestone and draw.

    Errors are mean absolute ones of the trials that have not ended, in standard deviations of the better half's finals.
    """
    found, random = [], np.random.default_rng(0)
    rule = ForecastRule(fitted=model)
    for seen, finals in cohorts(sweep, metric, model):
        better = np.flatnonzero(np.isfinite(finals) & (seen.mean <= np.median(seen.mean)))
        if len(better) < 3:
            continue
        scale = float(np.std(finals[better])) + 1e-9
        for _ in range(draws):
            ended = random.choice(better, max(1, len(better) // 3), replace=False)
            rest = np.setdiff1d(better, ended)
            known = {seen.panel.trial_ids[row]: float(finals[row]) for row in ended}
            before, after = (forecast(seen, rule, ends) for ends in ({}, known))
            errors = [
                float(np.mean([abs(said[seen.panel.trial_ids[row]].expected - finals[row]) for row in rest])) / scale
                for said in (before, after)
            ]
            found.append((seen.panel.share, errors[0], errors[1]))
    return found


def cohorts(sweep: RecordedSweep, metric: str, model: ForecastModel) -> Iterator[tuple[Survey, Array]]:
    """Yield the whole cohort at every milestone, with the final objectives in its order (infinite where one diverged)."""
    sign = 1.0 if mode_of(metric) == "min" else -1.0
    ends = {
        trial.trial: sign * trial.final[metric] if trial.status == "completed" else math.inf for trial in sweep.trials
    }
    for index in range(len(sweep.levels) - 1):
        seen = [observation_at(trial, sweep.levels, index, metric, sign) for trial in sweep.trials]
        known = [each for each in seen if each is not None]
        if len(known) >= SMALLEST_PANEL:
            levels, left = sweep.levels[: index + 1], len(known) / len(sweep.trials)
            found = survey(known, levels, sweep.levels[-1], model, left, sweep.epochs)
            yield found, np.array([ends[trial_id] for trial_id in found.panel.trial_ids])


def second_wave(
    sweep: RecordedSweep, objective: Objective, model: ForecastModel, learns: bool, seed: int
) -> tuple[float, float]:
    """Return what the second half of the trials cost, as a share of training it whole, and the regret of the choice."""
    order = [trial.trial for trial in sweep.trials]
    np.random.default_rng(seed).shuffle(order)
    half = len(order) // 2
    policy = StoppingPolicy((RungRule(), ForecastRule(fitted=model)))
    engine = StoppingEngine(policy, SweepOutline(sweep.levels, objective, sweep.epochs))
    if not learns:
        forgetful(engine)
    spent = [run_wave(engine, sweep, wave) for wave in (order[:half], order[half:])]
    ends = {trial_id: trial.final for trial_id, trial in ((each.trial, each) for each in sweep.trials) if trial.final}
    keys = {trial_id: objective.key(final)[1] for trial_id, final in ends.items()}
    chosen = engine.winner()
    regret = keys[chosen.winner.trial_id] - min(keys.values()) if chosen else math.inf
    return spent[1] / (sweep.levels[-1] * (len(order) - half)), regret


def forgetful(engine: StoppingEngine) -> None:
    """Make an engine forecast as if no trial's end were known."""

    def nothing(trial_id: str, key: Key) -> None:
        del trial_id, key

    ordinary = engine._system

    def system_of(cohort: str) -> RungSystem:
        system = ordinary(cohort)
        system.finish = nothing  # type: ignore[method-assign]
        return system

    engine._system = system_of  # type: ignore[method-assign]


def run_wave(engine: StoppingEngine, sweep: RecordedSweep, wave: Sequence[str]) -> int:
    """Train a wave, all trials at once, until nothing can go on; returns its samples."""
    for trial_id in wave:
        engine.add_trial(sweep.trial(trial_id).facts)
    courses = courses_of(sweep)
    at = dict.fromkeys(wave, 0)
    spent = dict.fromkeys(wave, 0)
    while at:
        for trial_id, place in at.items():
            station = courses.stations[trial_id][place]
            signals = sweep.trial(trial_id).signals_between(spent[trial_id], station.samples_seen)
            state = TrialState.DIVERGED if station.diverged else TrialState.RUNNING
            observe(engine, trial_id, station.level_index, station.samples_seen, station.scores, signals, state)
            spent[trial_id] = station.samples_seen
        engine.settle(len(wave), 0)
        at = {trial_id: place + 1 for trial_id, place in at.items() if engine.outcome(trial_id) is Outcome.RUNNING}
    return sum(spent.values())


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", nargs="*", default=["shipped"], help="recorded sweeps; default: those shipped")
    options = parser.parse_args()
    print(machine(), flush=True)
    sweeps = read_recorded(recorded_files(options.recorded))
    weights = left_out_models(sweeps)
    print_errors(sweeps, weights)
    print_waves(sweeps, weights)


def print_errors(sweeps: Sequence[RecordedSweep], weights: Mapping[str, ForecastModel]) -> None:
    """Print how wrong forecasts are before and after a third of the better half has ended."""
    found = np.array(
        [
            row
            for sweep in sweeps
            for metric in METRICS
            if metric in common_metrics(sweep)
            for row in value_errors(sweep, metric, weights[sweep.name], DRAWS)
        ]
    )
    stages = np.round(np.log2(found[:, 0]))
    lines = [
        [
            f"1/{2**-at:.0f}",
            str(int((stages == at).sum())),
            *(f"{value:.2f}" for value in np.median(found[stages == at, 1:], axis=0)),
        ]
        for at in np.unique(stages)
    ]
    head = ["share of training", "cohorts x draws", "error before", "error after"]
    print_table("Error of the final objective, in standard deviations of the better half, median", [head, *lines])


def print_waves(sweeps: Sequence[RecordedSweep], weights: Mapping[str, ForecastModel]) -> None:
    """Print what a second wave costs, and what is lost, with and without learning from the first."""
    lines = []
    for kind, metrics in (("held-out loss", (IN_DISTRIBUTION,)), ("other losses", AWAY)):
        for learns in (False, True):
            rows = []
            for metric in metrics:
                having = [sweep for sweep in sweeps if metric in common_metrics(sweep)]
                objective = Objective(metric, mode_of(metric))
                noise = noise_of(having, objective)
                for sweep in having:
                    for seed in range(DRAWS):
                        share, regret = second_wave(sweep, objective, weights[sweep.name], learns, seed)
                        rows.append((share, regret / (noise[sweep.name].deviation or math.nan)))
            table = np.array(rows)
            lines.append(
                [
                    kind,
                    "yes" if learns else "no",
                    f"{table[:, 0].mean():.3f}",
                    f"{np.median(table[:, 1]):.2f}",
                    f"{np.minimum(table[:, 1], 5).mean():.2f}",
                    f"{(table[:, 1] <= 0).mean():.2f}",
                ]
            )
    head = ["objective", "learns", "samples of the second wave", "regret median", "mean (cut at 5)", "best chosen"]
    print_table("A second wave, after the first has ended", [head, *lines])


if __name__ == "__main__":
    main()
