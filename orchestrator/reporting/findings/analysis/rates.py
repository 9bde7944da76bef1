"""F7: whether the best learning rate differs by base, and whether the baseline and its neighbours find it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.reporting.findings.analysis.outcome import Effects
from orchestrator.reporting.findings.analysis.pairs import LAB
from orchestrator.reporting.findings.analysis.runs import Arm, Runs
from orchestrator.reporting.findings.analysis.selection import best_rate, final
from orchestrator.reporting.findings.registration.registration import Target
from orchestrator.reporting.findings.registration.scaling import PAPER_BASELINE
from orchestrator.reporting.findings.statistics.estimates import Effect, mean_effect


def rates(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F7 at the LAB batch: rates are chosen on the other seeds' validation and scored on the seed that was left out."""
    first, second = (lab_arms(runs, design) for design in ("grid", "grid_second"))
    effects: dict[tuple[str, Target], Effect] = {}
    for target in targets:
        effects |= {
            ("own_rate_matters", target): mean_effect(_own_minus_foreign(runs, first, second, target)),
            ("three_rates_first", target): mean_effect(_three_minus_all(runs, "grid", first, target)),
            ("three_rates_second", target): mean_effect(_three_minus_all(runs, "grid_second", second, target)),
        }
    return effects


def lab_arms(runs: Runs, design: str) -> list[Arm]:
    """Return a grid's arms at the LAB batch, by rising rate."""
    return runs.arms(design, lambda arm: arm.batch == LAB)


def neighbourhood(arms: Sequence[Arm]) -> list[Arm]:
    """Return the arm of the baseline rate and those of the next lower and higher rate."""
    place = min(range(len(arms)), key=lambda index: abs(math.log(arms[index].rate / PAPER_BASELINE)))
    return list(arms[max(0, place - 1) : place + 2])


def _own_minus_foreign(runs: Runs, first: Sequence[Arm], second: Sequence[Arm], target: Target) -> list[float]:
    seeds, first_seeds = runs.seeds("grid_second"), runs.seeds("grid")
    differences = []
    for seed in seeds:
        own = best_rate(runs, second, target, _others(seeds, seed))
        foreign_rate = best_rate(runs, first, target, _others(first_seeds, seed)).rate
        foreign = min(second, key=lambda arm: abs(math.log(arm.rate / foreign_rate)))
        differences.append(_final(runs, own, seed, target) - _final(runs, foreign, seed, target))
    return differences


def _three_minus_all(runs: Runs, design: str, arms: Sequence[Arm], target: Target) -> list[float]:
    seeds = runs.seeds(design)
    return [
        _final(runs, best_rate(runs, neighbourhood(arms), target, _others(seeds, seed)), seed, target)
        - _final(runs, best_rate(runs, arms, target, _others(seeds, seed)), seed, target)
        for seed in seeds
    ]


def _others(seeds: Sequence[int], seed: int) -> list[int]:
    return [other for other in seeds if other != seed]


def _final(runs: Runs, arm: Arm, seed: int, target: Target) -> float:
    run = runs.get(arm, seed)
    return math.nan if run is None else final(run, target)
