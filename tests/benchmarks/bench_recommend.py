"""A fixed small budget started from the recommendation, against the same budget started from wide default spaces.

``python -m tests.benchmarks.bench_recommend`` replays the shipped recorded sweeps (half a minute): every arm's searcher
proposes its trials, and each becomes the recorded configuration of its method that is nearest in learning rate and batch.
What lies outside of what was recorded becomes the outermost configuration, which flatters the wide spaces: a rate of 1e-6
counts as the lowest that was recorded. For each sweep the recommendation knows published rules, and as past sweeps those of
other (model, data) pairs only. ``--real`` trains the trials instead (`tests.benchmarks.recommend_real`).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.coordinating.searchers.make import make_searcher
from orchestrator.records import TrialConfig
from orchestrator.reporting.recommendation.beliefs import Belief, update
from orchestrator.reporting.recommendation.compose import recommend
from orchestrator.reporting.recommendation.evidence import PastSweep, seen_rates
from orchestrator.reporting.recommendation.request import Request, parse_budget
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.replay_files import recorded_files
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.sweep import SweepSpec
from tests.benchmarks.common import machine
from tests.benchmarks.recommend_real import ARMS as REAL_ARMS
from tests.benchmarks.recommend_real import WIDE_BATCHES, WIDE_RATES, run_pair
from tests.benchmarks.recorded_past import METRIC, PAIRS, paired, past_sweep

ARMS = ("rules", "rules, other pairs", "rules, all others", "auto", "wide", "wide, our batches")
OURS = ARMS[1]
"""Recommended from published rules alone; with past sweeps of other pairs; with all other recorded sweeps, those of the same
pair too (which four of the seven pairs do not have); each method's default range
(`learning_rate: auto`, a factor of ten either side of a rate for models of 0.5 to 8 billion parameters); one range of five
orders of magnitude for all methods, as people write who do not know. These two try batches of 8, 32 and 128; the last is
the wide range with the recommended batches, which tells what the rates alone bring."""


@dataclass(frozen=True)
class ArmFigures:
    """What an arm's winner lost against the best recorded configuration, over all draws, in nats per token."""

    sweep: str
    pair: str
    arm: str
    regret_mean: float
    regret_deviation: float
    regret_median: float
    best_share: float


def space_of(arm: str, sweep: RecordedSweep, budget: str, past: Sequence[PastSweep]) -> SweepSpec:
    """Return the sweep that an arm would run on a pair, with the methods that were recorded."""
    pair, methods = PAIRS[sweep.name], tuple(sorted({str(trial.config["method"]) for trial in sweep.trials}))
    samples = max(trial.samples for trial in sweep.trials)
    settings = {"model": "testbed", "data": {"train": "testbed:sft"}}  # stands for the recorded ones; nothing is read
    if arm.startswith("rules"):
        others = [each for each in past if _may_know(arm, each.name, sweep.name)]
        request = Request(
            pair.model, pair.data, parse_budget(budget), "loss", settings, methods=methods, samples=samples
        )
        return parse_sweep(dict(recommend(request, others).values))
    rates = {"learning_rate": WIDE_RATES, "any_learning_rate": True} if arm.startswith("wide") else {}
    batches: Any = WIDE_BATCHES
    if arm.endswith("our batches"):
        batches = space_of("rules", sweep, budget, past).search_space.effective_batch_size.to_yaml()
    space = {"method": list(methods), "effective_batch_size": batches, **rates}
    trials = int(parse_budget(budget).amount)
    return parse_sweep(
        {"name": "wide", **settings, "search_space": space, "budget": {"trials": trials, "samples": samples}}
    )


def _may_know(arm: str, past: str, here: str) -> bool:
    if arm == "rules, other pairs":
        return PAIRS[past].name != PAIRS[here].name
    return arm == "rules, all others" and past != here


def nearest_final(sweep: RecordedSweep, config: TrialConfig, random: np.random.Generator) -> float:
    """Return the final loss of the recorded configuration nearest to one; infinity where that diverged."""
    own = [trial for trial in sweep.trials if trial.config["method"] == config.method]
    away = [
        abs(math.log10(float(trial.config["learning_rate"]) / config.learning_rate)) / 0.5
        + abs(math.log2(int(trial.config["effective_batch_size"]) / config.effective_batch_size)) / 2
        for trial in own
    ]
    close = [trial for trial, distance in zip(own, away, strict=True) if distance <= min(away) + 1e-9]
    return close[random.integers(len(close))].final.get(METRIC, math.inf)


def draw_winners(sweep: RecordedSweep, spec: SweepSpec, draws: int) -> np.ndarray[Any, Any]:
    """Return the best final loss of each draw: the searcher's own proposals under so many seeds."""
    winners = []
    for seed in range(draws):
        source = make_searcher(
            spec.model_copy(update={"searcher": spec.searcher.model_copy(update={"seed": seed})}),
            int(spec.budget.samples or 0),
            int(spec.budget.trials or 0),
        )
        random, finals = np.random.default_rng(seed), []
        while len(finals) < int(spec.budget.trials or 0) and (config := source.propose()) is not None:
            finals.append(nearest_final(sweep, config, random))
        winners.append(min(finals))
    return np.array(winners)


def figures(
    sweeps: Sequence[RecordedSweep], budget: str, draws: int
) -> tuple[list[ArmFigures], dict[str, dict[str, Any]]]:
    """Return figures of every arm on every sweep, and the winners themselves by sweep and arm."""
    past = [past_sweep(sweep) for sweep in sweeps]
    found, winners = [], {}
    for sweep in sweeps:
        best = min(trial.final.get(METRIC, math.inf) for trial in sweep.trials)
        winners[sweep.name] = {arm: draw_winners(sweep, space_of(arm, sweep, budget, past), draws) for arm in ARMS}
        worst = max(value for value in (t.final.get(METRIC, 0.0) for t in sweep.trials))
        for arm, values in winners[sweep.name].items():
            lost = np.minimum(values, worst) - best
            found.append(
                ArmFigures(
                    sweep.name,
                    PAIRS[sweep.name].name,
                    arm,
                    float(lost.mean()),
                    float(lost.std()),
                    float(np.median(lost)),
                    float(np.mean(lost < 1e-9)),
                )
            )
    return found, winners


def better_share(ours: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return how often our winner is the better one of two independent draws; ties count half."""
    return float(np.mean((ours[:, None] < other[None]) + 0.5 * (ours[:, None] == other[None])))


def print_tables(found: Sequence[ArmFigures], winners: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]) -> None:
    """Print mean regret and its spread per sweep and arm, how often ours wins, and the means over pairs."""
    rivals = ARMS[3:]
    print(f"| sweep | pair | {' | '.join(ARMS)} | {' | '.join(f'{OURS} better than {arm}' for arm in rivals)} |")
    print("|" + "---|" * (len(ARMS) + len(rivals) + 2))
    for name, arms in winners.items():
        own = {each.arm: each for each in found if each.sweep == name}
        cells = [f"{own[arm].regret_mean:.3f} ± {own[arm].regret_deviation:.3f}" for arm in ARMS]
        shares = [f"{better_share(arms[OURS], arms[arm]):.0%}" for arm in rivals]
        print(f"| {name} | {PAIRS[name].name} | {' | '.join((*cells, *shares))} |")
    pairs = sorted({each.pair for each in found})
    means = {
        arm: np.array([np.mean([f.regret_mean for f in found if (f.pair, f.arm) == (pair, arm)]) for pair in pairs])
        for arm in ARMS
    }
    for arm, values in means.items():
        by_pair = ", ".join(f"{pair} {value:.3f}" for pair, value in zip(pairs, values, strict=True))
        low, high = bootstrap(values - means[OURS])
        print(
            f"mean regret over {len(pairs)} pairs, {arm}: {values.mean():.3f} nats per token ({by_pair}); "
            f"more than {OURS} by {np.mean(values - means[OURS]):+.3f}, 95 % interval over pairs {low:+.3f} to {high:+.3f}"
        )


def bootstrap(differences: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean."""
    random = np.random.default_rng(0)
    drawn = random.choice(differences, (10_000, len(differences))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def rate_errors(sweeps: Sequence[RecordedSweep]) -> dict[str, tuple[float, float, int]]:
    """Return by arm of ours how far its believed best rate lies from the one that a sweep shows.

    Returns:
        Mean absolute error in orders of magnitude, root mean square of the error over its standard deviation (1 where
        intervals are as wide as they should be), and the number of (sweep, method) that were looked at.
    """
    past = [past_sweep(sweep) for sweep in sweeps]
    found = {}
    for arm in ARMS[:3]:
        errors, standard = [], []
        for sweep in past:
            known = [
                seen.observation
                for other in past
                if _may_know(arm, other.name, sweep.name)
                for seen in seen_rates(other)
            ]
            for shown in (seen.observation for seen in seen_rates(sweep)):
                belief, _ = update(Belief(0.0, shown.rule_deviation), shown.situation, known)
                errors.append(shown.offset - belief.mean)
                standard.append(errors[-1] / math.hypot(belief.deviation, shown.error))
        found[arm] = (float(np.abs(errors).mean()), float(np.sqrt(np.square(standard).mean())), len(errors))
    return found


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    real = parser.add_argument_group("real runs")
    real.add_argument("--real", action="store_true", help="train the trials of one pair instead of replaying")
    real.add_argument("--model", default="testbed")
    real.add_argument("--data", default="testbed:sft")
    real.add_argument("--set", action="append", help="a field of the sweep file, e.g. data.max_length=160")
    real.add_argument("--samples", type=int, default=1024, help="samples of a trial")
    real.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of the searcher")
    real.add_argument("--arms", nargs="+", default=list(REAL_ARMS), choices=REAL_ARMS)
    options = parser.parse_args()
    print(machine(), flush=True)
    if options.real:
        run_pair(options)
        return
    sweeps = paired(read_recorded(recorded_files(["shipped"])))
    found, winners = figures(sweeps, f"{options.trials}-trials", options.draws)
    print(
        f"{options.trials} trials, {options.draws} draws; winner's {METRIC} minus the best recorded one, mean ± deviation over draws"
    )
    print_tables(found, winners)
    for arm, (error, standard, count) in rate_errors(sweeps).items():
        print(
            f"best rate, {arm}: off by {error:.2f} orders of magnitude on average, standardised error {standard:.2f} ({count} methods)"
        )
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in found]))


if __name__ == "__main__":
    main()
