"""Runs of the whole suite with effects that are known because they were planted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from orchestrator.records import TrainingSignal
from orchestrator.reporting.findings.analysis.runs import Arm, Point, Run, Runs
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.scaling import MILESTONE_SHARES

WHOLE = 7_200
LEVELS = [round(share * WHOLE) for share in MILESTONE_SHARES]


@dataclass(frozen=True)
class Planted:
    """True effects, in exact match unless said otherwise, and the scatter between seeds."""

    lab_over_small: float = 0.1
    small_head_start: float = 0.2
    warmup: float = 0.0
    cosine: float = 0.0
    phased: float = 0.0
    phased_delay: float = 2.0
    long_tulu_bonus: float = 0.0
    best_rate: float = 2e-5
    second_best_rate: float = 1e-6
    norm_marks_better: bool = False
    scatter: float = 0.005
    seed: int = 0


def planted_suite(truth: Planted) -> Runs:
    """Return runs of every design but the baseline's."""
    random = np.random.default_rng(truth.seed)
    runs = []
    for name, design in designs().items():
        if name == "baseline":
            continue
        assert design.rates != "ladder"
        arms = [
            Arm(name, batch, rate, schedule, strategy, warmup)
            for batch in design.batches
            for rate in design.rates
            for schedule in design.schedules
            for strategy in design.strategies
            for warmup in (design.warmup_steps or (-1,))
        ]
        runs += [_run(arm, seed, truth, design.epochs, random) for arm in arms for seed in range(design.seeds)]
    return Runs(runs)


def _run(arm: Arm, seed: int, truth: Planted, epochs: float, random: np.random.Generator) -> Run:
    final = _final(arm, truth) + truth.scatter * random.standard_normal()
    points = []
    for level in [level for level in LEVELS if level <= WHOLE * epochs / 10]:
        done = level / WHOLE
        early = truth.small_head_start * (1 - done) if (arm.design, arm.batch) == ("grid", 128) else 0.0
        slow = (truth.phased_delay if arm.strategy == "phased" else 1.0) * 0.25
        shape = math.exp(-max(0.0, slow - done)) - 0.02 * max(0.0, done - slow)
        score = final - 0.4 + 0.4 * shape + early + 0.02 * (1 - done)
        points.append(Point(level, level * 0.01, _scores(score)))
    return Run(arm, seed, tuple(points), _signals(arm, final, truth, random))


def _final(arm: Arm, truth: Planted) -> float:
    best = truth.second_best_rate if arm.design == "grid_second" else truth.best_rate
    value = 0.6 - 0.05 * abs(math.log10(arm.rate / best))
    value += truth.lab_over_small * (arm.batch > 128)
    value += truth.warmup * (arm.warmup == 0)
    value -= truth.cosine * (arm.schedule == "cosine")
    value -= truth.phased * (arm.strategy == "phased")
    if arm.design == "tulu_long":
        value += truth.long_tulu_bonus
    return value


def _scores(score: float) -> dict[str, float]:
    twins = {f"{kind}{end}/exact_match": score for kind in ("knowledge", "skills") for end in ("", "_validation")}
    return {**twins, "eval/loss": 2 - score, "validation/loss": 2 - score, "general/forgetting": 1 - score}


def _signals(arm: Arm, final: float, truth: Planted, random: np.random.Generator) -> tuple[TrainingSignal, ...]:
    if arm.design not in ("grid", "noise"):
        return ()
    size = max(24, arm.batch // 32)
    found = []
    for step in range(3_000 // size):
        seen = (step + 1) * size
        norm = 5 - 5 * final if truth.norm_marks_better else 1 + math.log10(arm.rate / 1e-6)
        norm += 0.01 * random.standard_normal()
        corrected = norm if arm.design == "noise" or arm.batch > 128 else None
        found.append(
            TrainingSignal(step, seen, seen * 20, 5 - norm, 5 - norm, norm, arm.rate, 1e3, step, 10.0, corrected)
        )
    return tuple(found)
