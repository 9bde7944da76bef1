"""Findings that compare pairs of trials with the same seed: F1, F3, F4, F5, F6."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.reporting.findings.analysis.outcome import Effects
from orchestrator.reporting.findings.analysis.runs import Arm, Run, Runs
from orchestrator.reporting.findings.analysis.selection import (
    Score,
    at,
    at_seconds,
    best_on_test,
    by_left_out_seed,
    chosen,
    chosen_samples,
    final,
    near,
    peak,
)
from orchestrator.reporting.findings.registration.registration import Target
from orchestrator.reporting.findings.registration.scaling import PAPER_BASELINE
from orchestrator.reporting.findings.statistics.estimates import Effect, mean_effect

SMALL, LAB, LARGE = 128, 3_840, 7_680
TULU_PLUS_RATE = 3e-5
EARLY_CROSSING = 1 / 15


def difference(runs: Runs, one: Arm, other: Arm, target: Target, seeds: Sequence[int], score: Score) -> Effect:
    """Return the mean of (score of one minus score of other) over the seeds that both have."""
    return mean_effect(
        [_score(runs, one, seed, target, score) - _score(runs, other, seed, target, score) for seed in seeds]
    )


def batches(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F1: each batch at its own best rate, chosen on the other seeds' validation."""
    effects: dict[tuple[str, Target], Effect] = {}
    seeds = runs.seeds("grid")
    arms = {batch: runs.arms("grid", lambda arm, batch=batch: arm.batch == batch) for batch in (SMALL, LAB, LARGE)}  # type: ignore[misc]
    whole = max(run.samples for run in runs.of("grid"))

    def early(run: Run, target: Target) -> float:
        return near(run, target, EARLY_CROSSING * whole)

    def by_seed(batch: int, target: Target, score: Score) -> list[float]:
        return list(by_left_out_seed(runs, arms[batch], target, seeds, score).values())

    for target in targets:
        pairs: dict[str, tuple[list[float], list[float]]] = {
            "lab_minus_small": (by_seed(LAB, target, final), by_seed(SMALL, target, final)),
            "large_minus_small": (by_seed(LARGE, target, final), by_seed(SMALL, target, final)),
            "large_minus_lab": (by_seed(LARGE, target, final), by_seed(LAB, target, final)),
            "small_ahead_early": (by_seed(SMALL, target, early), by_seed(LAB, target, early)),
            "chosen_lab_minus_small": (by_seed(LAB, target, chosen), by_seed(SMALL, target, chosen)),
            "peak_lab_minus_small": tuple(
                [best_on_test(runs, arms[batch], target, seed) for seed in seeds] for batch in (LAB, SMALL)
            ),  # type: ignore[dict-item]
        }
        effects |= {(name, target): mean_effect(_minus(*pair)) for name, pair in pairs.items()}
    return effects


def warmups(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F3: the same seed and schedule with and without warm-up, averaged over the schedules that have both."""
    seeds = runs.seeds("schedule")

    def between(one: int, other: int, target: Target, score: Score) -> Effect:
        have = [{arm.schedule for arm in _lab_arms(runs) if arm.warmup == warmup} for warmup in (one, other)]
        shared = have[0] & have[1]
        arms = [[arm for arm in _lab_arms(runs) if arm.warmup == w and arm.schedule in shared] for w in (one, other)]
        return mean_effect(_minus(*(_means(runs, entry, seeds, target, score) for entry in arms)))

    return {
        (name, target): between(0, other, target, score)
        for target in targets
        for name, other, score in (
            ("none_minus_25", 25, final),
            ("none_minus_100", 100, final),
            ("peak_none_minus_25", 25, peak),
        )
    }


def schedules(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F4: the same seed and warm-up with a constant and a cosine rate, averaged over the warm-ups that have both."""
    seeds = runs.seeds("schedule")
    have = [{arm.warmup for arm in _lab_arms(runs) if arm.schedule == schedule} for schedule in ("constant", "cosine")]
    shared = have[0] & have[1]

    def between(target: Target, score: Score) -> Effect:
        arms = [
            [arm for arm in _lab_arms(runs) if arm.schedule == schedule and arm.warmup in shared]
            for schedule in ("constant", "cosine")
        ]
        return mean_effect(_minus(*(_means(runs, entry, seeds, target, score) for entry in arms)))

    return {
        (name, target): between(target, score)
        for target in targets
        for name, score in (
            ("constant_minus_cosine", final),
            ("constant_minus_cosine_both_sides", final),
            ("peak_constant_minus_cosine", peak),
        )
    }


def strategies(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F5: stacked and phased by seed; scores, and samples to the checkpoint that is best on validation."""
    seeds = runs.seeds("strategy")
    by = {(arm.batch, arm.strategy): arm for arm in runs.arms("strategy")}
    stacked, phased = by[LAB, "stacked"], by[LAB, "phased"]

    def earlier(run: Run, target: Target) -> float:
        return -math.log2(chosen_samples(run, target))

    effects: dict[tuple[str, Target], Effect] = {}
    for target in targets:
        effects |= {
            ("stacked_minus_phased", target): difference(runs, stacked, phased, target, seeds, final),
            ("fewer_samples_to_peak", target): difference(runs, stacked, phased, target, seeds, earlier),
            ("stacked_minus_phased_small", target): difference(
                runs, by[SMALL, "stacked"], by[SMALL, "phased"], target, seeds, final
            ),
            ("peak_stacked_minus_phased", target): difference(runs, stacked, phased, target, seeds, peak),
            ("chosen_stacked_minus_phased", target): difference(runs, stacked, phased, target, seeds, chosen),
        }
    return effects


def recipes(runs: Runs, targets: Sequence[Target]) -> Effects:
    """F6: LAB against TULU as published, and at equal samples and equal time."""
    lab = next(arm for arm in runs.arms("schedule") if arm.schedule == "constant" and arm.warmup == 25)
    # At the paper's scale TULU was never trained as long as LAB.
    others = {design: arms[0] for design in ("tulu", "tulu_long", "tulu_plus") if (arms := runs.arms(design))}
    seeds = runs.seeds("schedule", *others)
    return {
        (name, target): mean_effect(
            [_recipe_difference(runs, lab, others[design], seed, target, scores) for seed in seeds]
        )
        for target in targets
        for name, design, scores in (
            ("as_published", "tulu", (peak, peak)),
            ("equal_samples_long", "tulu_long", (final, final)),
            ("equal_samples_short", "tulu", ("samples", final)),
            ("equal_time", "tulu", ("seconds", final)),
            ("against_tulu_plus", "tulu_plus", ("samples", final)),
            ("chosen", "tulu", (chosen, chosen)),
        )
        if design in others
    }


def _recipe_difference(
    runs: Runs, lab: Arm, other: Arm, seed: int, target: Target, scores: tuple[Score | str, Score]
) -> float:
    one, two = runs.get(lab, seed), runs.get(other, seed)
    if one is None or two is None:
        return math.nan
    how, against = scores
    if how == "samples":
        mine = at(one, target, two.samples)
    elif how == "seconds":
        mine = at_seconds(one, target, two.points[-1].seconds)
    else:
        assert callable(how)
        mine = how(one, target)
    return mine - against(two, target)


def _score(runs: Runs, arm: Arm, seed: int, target: Target, score: Score) -> float:
    run = runs.get(arm, seed)
    return math.nan if run is None else score(run, target)


def _lab_arms(runs: Runs) -> list[Arm]:
    """Return the schedule sweep's arms of the LAB batch and baseline rate."""
    return runs.arms("schedule", lambda arm: arm.batch == LAB and math.isclose(arm.rate, PAPER_BASELINE, rel_tol=0.01))


def _means(runs: Runs, arms: Sequence[Arm], seeds: Sequence[int], target: Target, score: Score) -> list[float]:
    """Return by seed the mean score over arms; NaN without any."""
    if not arms:
        return [math.nan for _ in seeds]
    return [sum(_score(runs, arm, seed, target, score) for arm in arms) / len(arms) for seed in seeds]


def _minus(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [left - right for left, right in zip(one, other, strict=True)]
