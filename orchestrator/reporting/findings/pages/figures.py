"""The plots of each finding: the paper's published numbers, and the same plot of the runs here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
import yaml

from orchestrator.reporting.findings.analysis.early import EarlyGrid, lowest_rate
from orchestrator.reporting.findings.analysis.pairs import LAB, LARGE, SMALL
from orchestrator.reporting.findings.analysis.rates import lab_arms
from orchestrator.reporting.findings.analysis.runs import Arm, Run, Runs
from orchestrator.reporting.findings.analysis.selection import best_rate, chosen_samples, final, peak
from orchestrator.reporting.findings.pages.plots import Dot, Step, curves_chart, dots_chart, scatter_chart
from orchestrator.reporting.findings.pages.wording import rate_text
from orchestrator.reporting.findings.registration.registration import Target, registration
from orchestrator.reporting.findings.statistics.estimates import mean_effect
from orchestrator.reporting.sweep_report.facts.thinning import thin
from orchestrator.reporting.sweep_report.layout.blocks import Chart

_PUBLISHED = Path(__file__).with_name("published.yaml")


class PublishedChart(TypedDict):
    """One chart of the paper's own numbers; a row is (place, value, series)."""

    title: str
    x: str
    y: str
    rows: Sequence[tuple[str | int, float, str]]


class Published(TypedDict):
    """What the paper says on a finding, and what it does not."""

    note: str
    charts: Sequence[PublishedChart]


@lru_cache(maxsize=1)
def published() -> Mapping[str, Published]:
    """Return the paper's own numbers by finding."""
    values: Mapping[str, Published] = yaml.safe_load(_PUBLISHED.read_text(encoding="utf-8"))
    return values


def paper_charts(finding: str) -> list[Chart]:
    """Return the paper's charts of a finding."""
    return [
        dots_chart(
            f"{finding}-paper-{place}",
            chart["title"],
            chart["x"],
            chart["y"],
            [Dot(str(where), value, series) for where, value, series in chart["rows"]],
            f"{chart['y']} by {chart['x']} as published.",
        )
        for place, chart in enumerate(published()[finding]["charts"], 1)
    ]


def own_charts(finding: str, runs: Runs, target: Target) -> list[Chart]:
    """Return the same charts of the runs here."""
    return _DRAWN[finding](runs, target)


def title_of(target: Target) -> str:
    """Return a target as axes name it."""
    return registration().targets.title[target]


def shown(value: float, target: Target) -> float:
    """Return a score as it was measured (losses turned back)."""
    return value if registration().targets.mode[target] == "max" else -value


def _dot(place: str, series: str, values: Sequence[float], target: Target) -> Dot | None:
    known = [shown(value, target) for value in values if math.isfinite(value)]
    if not known:
        return None
    effect = mean_effect(known)
    low, high = (effect.low, effect.high) if effect.known else (None, None)
    return Dot(place, effect.value, series, low, high)


def _dots(entries: Sequence[Dot | None]) -> list[Dot]:
    return [entry for entry in entries if entry is not None]


def _of(runs: Runs, arm: Arm) -> list[Run]:
    return sorted((run for run in runs.of(arm.design) if run.arm == arm), key=lambda run: run.seed)


def _mean_curve(runs: Sequence[Run], series: str, target: Target) -> list[Step]:
    by_samples: dict[int, list[float]] = {}
    for run in runs:
        for samples, value in run.curve(target):
            by_samples.setdefault(samples, []).append(shown(value, target))
    return [Step(samples, float(np.mean(values)), series) for samples, values in sorted(by_samples.items())]


def _batches(runs: Runs, target: Target) -> list[Chart]:
    seeds, dots, steps = runs.seeds("grid"), [], []
    for batch in (SMALL, LAB, LARGE):
        arms = runs.arms("grid", lambda arm, b=batch: arm.batch == b)  # type: ignore[misc]
        best = best_rate(runs, arms, target, seeds)
        dots.append(_dot(f"{batch:,}", "here", [final(run, target) for run in _of(runs, best)], target))
        steps += _mean_curve(_of(runs, best), f"batch {batch:,}, rate {rate_text(best.rate)}", target)
    return [
        dots_chart(
            "F1-here-1",
            "Here: final score by batch",
            "effective batch size (the paper's)",
            title_of(target),
            _dots(dots),
            "Final score of each batch at its own best rate, mean over seeds with 95 % interval.",
        ),
        curves_chart(
            "F1-here-2",
            "Here: do the curves cross?",
            "samples seen",
            title_of(target),
            steps,
            "Score over samples seen, mean over seeds, each batch at its best rate.",
        ),
    ]


def _early(runs: Runs, target: Target) -> list[Chart]:
    whole, shared = max(run.samples for run in runs.of("grid")), registration()
    grid = EarlyGrid(runs, round(shared.early_share * whole))
    arms = lab_arms(runs, "grid")
    norm: list[Step] = []
    signals: list[Step] = []
    for arm in arms:
        series = f"rate {rate_text(arm.rate)}"
        for run in _of(runs, arm):
            norm.append(Step(-grid.signal("grad_norm")(run), shown(final(run, target), target), series))
        first = _of(runs, arm)[0]
        points = thin(((entry.samples_seen, entry.grad_norm) for entry in first.signals), 60)
        signals += [Step(point.samples, point.mean, series) for point in points]
    correlations: list[Step] = []
    for share in shared.early_shares:
        at = EarlyGrid(runs, round(share * whole))
        reads = {
            "lower gradient norm": at.signal("grad_norm"),
            "higher training loss": at.signal("loss"),
            "null: lowest rate": lowest_rate,
            "the score itself": at.own_score(target),
        }
        correlations += [
            Step(100 * share, at.correlation("rates", read, target).value, label) for label, read in reads.items()
        ]
    return [
        curves_chart(
            "F2-here-1",
            "Here: gradient norm at the LAB batch, first seed",
            "samples seen",
            "gradient norm",
            signals,
            "Gradient norm over samples seen, one curve per learning rate.",
        ),
        scatter_chart(
            "F2-here-2",
            "Here: early gradient norm and final score, LAB batch",
            "early gradient norm",
            title_of(target),
            norm,
            "Each point is a trial; colours are learning rates.",
        ),
        curves_chart(
            "F2-here-3",
            "Here: rank correlation by length of the early span",
            "early span, % of training",
            "rank correlation, across rates",
            correlations,
            "Correlation of each signal with the final score, by the share of training at which it is read.",
        ),
    ]


def _warmups(runs: Runs, target: Target) -> list[Chart]:
    dots = [
        _dot(str(arm.warmup), arm.schedule, [final(run, target) for run in _of(runs, arm)], target)
        for arm in sorted(runs.arms("schedule"), key=lambda arm: (arm.warmup, arm.schedule == "cosine"))
    ]
    return [
        dots_chart(
            "F3-here-1",
            "Here: final score by warm-up",
            "warm-up, steps of 3,840 samples in the paper",
            title_of(target),
            _dots(dots),
            "Final score by warm-up and schedule, mean over seeds with 95 % interval.",
        )
    ]


def _schedules(runs: Runs, target: Target) -> list[Chart]:
    dots = [
        _dot(arm.schedule, f"warm-up {arm.warmup}", [final(run, target) for run in _of(runs, arm)], target)
        for arm in sorted(runs.arms("schedule"), key=lambda arm: (arm.schedule == "cosine", arm.warmup))
    ]
    return [
        dots_chart(
            "F4-here-1",
            "Here: final score by schedule",
            "schedule",
            title_of(target),
            _dots(dots),
            "Final score by schedule and warm-up, mean over seeds with 95 % interval.",
        )
    ]


def _unit_of(targets: Sequence[Target]) -> str:
    """Return the axis title of scores that stand beside each other: of one, its own; of several, what they have in common."""
    return title_of(targets[0]) if len(targets) == 1 else "exact match"


def _strategies(runs: Runs, target: Target) -> list[Chart]:
    arms = runs.arms("strategy", lambda arm: arm.batch == LAB)[::-1]
    names: tuple[Target, ...] = ("knowledge", "skills") if "knowledge" in runs.targets else (target,)
    dots = [
        _dot(title_of(name), arm.strategy, [peak(run, name) for run in _of(runs, arm)], name)
        for name in names
        for arm in arms
    ]
    steps = [step for arm in arms for step in _mean_curve(_of(runs, arm), arm.strategy, target)]
    samples = ", ".join(
        f"{arm.strategy} {np.mean([chosen_samples(run, target) for run in _of(runs, arm)]):,.0f}" for arm in arms
    )
    return [
        dots_chart(
            "F5-here-1",
            "Here: stacked and phased, best checkpoint",
            "score",
            _unit_of(names),
            _dots(dots),
            "Best checkpoint on the test, mean over seeds with 95 % interval.",
        ),
        curves_chart(
            "F5-here-2",
            f"Here: over samples (to the peak: {samples})",
            "samples seen",
            title_of(target),
            steps,
            "Score over samples seen, mean over seeds.",
        ),
    ]


def _recipes(runs: Runs, target: Target) -> list[Chart]:
    lab = next(arm for arm in runs.arms("schedule") if arm.schedule == "constant" and arm.warmup == 25)
    labels = {"tulu": "TULU", "tulu_long": "TULU, 10 epochs", "tulu_plus": "TULU++"}
    named = [("LAB", lab), *((label, arm) for design, label in labels.items() for arm in runs.arms(design))]
    names: tuple[Target, ...] = ("knowledge", "skills") if "knowledge" in runs.targets else (target,)
    dots = [
        _dot(title_of(name), label, [peak(run, name) for run in _of(runs, arm)], name)
        for name in names
        for label, arm in named[:2]
    ]
    steps = [step for label, arm in named for step in _mean_curve(_of(runs, arm), label, target)]
    return [
        dots_chart(
            "F6-here-1",
            "Here: as the paper compares (best checkpoint, unequal samples)",
            "score",
            _unit_of(names),
            _dots(dots),
            "Best checkpoint on the test, mean over seeds with 95 % interval.",
        ),
        curves_chart(
            "F6-here-2",
            "Here: at equal samples",
            "samples seen",
            title_of(target),
            steps,
            "Score over samples seen, mean over seeds.",
        ),
    ]


def _rates(runs: Runs, target: Target) -> list[Chart]:
    steps, best = [], []
    for design, label in (("grid", "first base"), ("grid_second", "second base")):
        arms = lab_arms(runs, design)
        for arm in arms:
            mean = np.mean([shown(final(run, target), target) for run in _of(runs, arm)])
            steps.append(Step(arm.rate, float(mean), label))
        best.append(Dot(label, best_rate(runs, arms, target, runs.seeds(design)).rate, "best rate"))
    return [
        dots_chart(
            "F7-here-1",
            "Here: best learning rate",
            "base",
            "best learning rate (the paper's scale)",
            best,
            "Best rate of each base by validation.",
        ),
        curves_chart(
            "F7-here-2",
            "Here: final score by learning rate, LAB batch",
            "learning rate (the paper's scale)",
            title_of(target),
            steps,
            "Final score by learning rate, mean over seeds.",
        ),
    ]


_DRAWN: Mapping[str, Callable[[Runs, Target], list[Chart]]] = {
    "F1": _batches,
    "F2": _early,
    "F3": _warmups,
    "F4": _schedules,
    "F5": _strategies,
    "F6": _recipes,
    "F7": _rates,
}
