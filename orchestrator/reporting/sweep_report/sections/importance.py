"""Which hyperparameters decided who came out ahead: conditional PED-ANOVA (Optuna), against what chance gives."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.records import Outcome, Scalar, TrialConfig
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.reporting.sweep_report.layout.blocks import Block, Chart, Column, Section, Spec, Table, note
from orchestrator.reporting.sweep_report.layout.charts import colour, tooltip
from orchestrator.reporting.sweep_report.sections.edges import shown_name
from orchestrator.results.records import TrialHistory
from orchestrator.spec.trial.dimensions import DIMENSIONS, OPTION

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.importance import PedAnovaImportanceEvaluator

TOP = 0.25
LEAST_TOP = 5
"""Optuna advises at least five trials in the top quantile."""
LEAST_TRIALS = int(LEAST_TOP / TOP)
MOST_CATEGORIES = 6
"""Up to so many different numbers are taken as they are; more are smoothed over."""
SHUFFLES = 40
CHANCE = 0.95


@dataclass(frozen=True)
class Importance:
    """How much a hyperparameter separates the top quarter from the rest, as a share of all of them; ``chance`` is what the same trials give with their ranks shuffled (95th percentile)."""

    name: str
    share: float
    chance: float


def importance_section(facts: SweepFacts) -> Section | None:
    """Return the importances, or why there are none; None while nothing was judged."""
    ranked = ranked_trials(facts)
    if not facts.judged:
        return None
    title, anchor = "Which hyperparameters mattered", "importance"
    if len(ranked) < LEAST_TRIALS:
        text = f"Not computed: PED-ANOVA compares the best quarter with the rest and wants five trials in it, so {LEAST_TRIALS} judged trials; there are {len(ranked)}."
        return Section(anchor, title, [note(text)])
    found = importances([trial.result.config for trial in ranked])
    if not found:
        return Section(anchor, title, [note("Not computed: the trials do not differ in any hyperparameter.")])
    blocks: list[Block] = [note(_what(len(ranked), found)), _chart(found), _table(found)]
    return Section(anchor, title, blocks)


def ranked_trials(facts: SweepFacts) -> list[TrialHistory]:
    """Return the trials that the importance is computed on, best first: judged or diverged ones, whether completed or not."""
    blown = [trial for trial in facts.trials if trial.result.outcome is Outcome.DIVERGED and trial not in facts.judged]
    judged = [trial for trial in facts.judged if trial.result.outcome is not Outcome.DIVERGED]
    diverged = [trial for trial in facts.judged if trial.result.outcome is Outcome.DIVERGED]
    return [*judged, *diverged, *blown]


def _what(trials: int, found: Sequence[Importance]) -> str:
    above = [each.name for each in found if each.share > each.chance]
    verdict = f"Beyond chance: {', '.join(above)}." if above else "None stands out from chance."
    return (
        f"Conditional PED-ANOVA (Optuna) on all {trials} judged trials, completed and stopped: how strongly a hyperparameter "
        "separates the best quarter from the rest. Trials rank as in the sweep, by the milestone reached and the objective there, "
        "diverged ones last; a learning rate counts by its place in the range of its method. The mark is the 95th percentile over "
        f"{SHUFFLES} shuffles of the ranks: a bar that does not pass it may be chance. {verdict}"
    )


def importances(ranked: Sequence[TrialConfig]) -> list[Importance]:
    """Return the importance of every hyperparameter that differs between trials, most important first.

    Args:
        ranked: Configurations, best first.
    """
    rows = placed_rows(ranked)
    distributions = _distributions(rows)
    if not distributions:
        return []
    study, evaluator = _study(rows, distributions)
    names = sorted({name for each in distributions for name in each})
    ranks = list(range(len(ranked)))
    shares = _evaluate(study, evaluator, names, ranks)
    shuffled = []
    generator = random.Random(0)
    for _ in range(SHUFFLES):
        generator.shuffle(ranks)
        shuffled.append(_evaluate(study, evaluator, names, ranks))
    total = sum(shares.values()) or 1.0
    found = [
        Importance(shown_name(name), shares[name] / total, _percentile([each[name] for each in shuffled]) / total)
        for name in names
    ]
    return sorted(found, key=lambda each: -each.share)


def dimension_values(config: TrialConfig) -> Row:
    """Return a configuration as named values; schedules, warm-ups and options that are no numbers as texts."""
    shared = {name: dimension.label(config) for name, dimension in DIMENSIONS.items()}
    return {
        "method": config.method,
        **shared,
        **{f"{OPTION}{key}": each for key, each in config.method_options.items()},
    }


Row = dict[str, Scalar]
Distributions = list[dict[str, "BaseDistribution"]]


def _distributions(rows: Sequence[Row]) -> Distributions:
    """Return each row's distributions, of the dimensions that differ; a method's options range over its own trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pools: dict[tuple[str, str], list[Scalar]] = {}
    for row in rows:
        for name, value in row.items():
            pools.setdefault((name, _owner(name, row)), []).append(value)
    made = {place: _distribution(values) for place, values in pools.items()}
    varied = {
        name for (name, _), distribution in made.items() if distribution is not None and not distribution.single()
    }
    return [{name: made[name, _owner(name, row)] for name in row if name in varied} for row in rows] if varied else []


def _owner(name: str, row: Row) -> str:
    """Return the method that a dimension belongs to; empty where its values mean the same under every method."""
    return str(row["method"]) if name.startswith("option.") else ""


def placed_rows(configs: Sequence[TrialConfig]) -> list[Row]:
    """Return configurations as rows, the learning rate as its place (0 to 1, logarithmic) in the range of its method's.

    Methods need rates of different sizes, so the rate itself would mostly tell the method.
    """
    logs: dict[str, list[float]] = {}
    for config in configs:
        logs.setdefault(config.method, []).append(math.log(config.learning_rate))
    found = []
    for config in configs:
        low, high = min(logs[config.method]), max(logs[config.method])
        place = (math.log(config.learning_rate) - low) / (high - low) if high > low else 0.5
        found.append({**dimension_values(config), "learning_rate": round(place, 6)})
    return found


def _distribution(values: Sequence[Scalar]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(set(numbers)) <= MOST_CATEGORIES:
        return CategoricalDistribution(list(dict.fromkeys(map(str, values))))
    return FloatDistribution(float(min(numbers)), float(max(numbers)), log=min(numbers) > 0)


def _study(rows: Sequence[Row], distributions: Distributions) -> tuple[Study, PedAnovaImportanceEvaluator]:
    import optuna

    study = optuna.create_study(direction="minimize")
    for rank, (row, own) in enumerate(zip(rows, distributions, strict=True)):
        taken = {name: _parameter(row[name], distribution) for name, distribution in own.items()}
        study.add_trial(optuna.trial.create_trial(params=taken, distributions=own, value=float(rank)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return study, optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP)


def _parameter(value: Scalar, distribution: BaseDistribution) -> str | float:
    if hasattr(distribution, "choices") or not isinstance(value, (int, float)):
        return str(value)
    return float(value)


def _evaluate(
    study: Study, evaluator: PedAnovaImportanceEvaluator, names: list[str], ranks: Sequence[int]
) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluator.evaluate(study, names, target=lambda trial: float(ranks[trial.number]))
    return {name: float(found[name]) for name in names}


def _percentile(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(CHANCE * len(values)))]


def _chart(found: Sequence[Importance]) -> Chart:
    rows = [
        {"name": e.name, "share_": round(e.share, 4), "chance_": round(e.chance, 4), "above": e.share > e.chance}
        for e in found
    ]
    y = {"field": "name", "type": "nominal", "sort": None, "axis": {"title": None, "ticks": False, "domain": False}}
    x = {"type": "quantitative", "axis": {"title": "share of the importance", "format": ".0%", "tickCount": 5}}
    told = tooltip(name="hyperparameter", share_="share", chance_="chance alone")
    spec: Spec = {
        "height": 28 * len(rows),
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadiusEnd": 3, "height": 14},
                "encoding": {
                    "y": y,
                    "x": {"field": "share_", **x},
                    "tooltip": told,
                    "color": {
                        "condition": {"test": "datum.above", "value": colour("accent")},
                        "value": colour("other"),
                    },
                },
            },
            {
                "mark": {"type": "tick", "thickness": 2, "size": 20, "color": colour("bad")},
                "encoding": {"y": y, "x": {"field": "chance_", **x}, "tooltip": told},
            },
        ],
    }
    return Chart(
        "importance",
        spec,
        "Importance for reaching the best quarter",
        "Importance of each hyperparameter, and what chance alone gives.",
    )


def _table(found: Sequence[Importance]) -> Table:
    columns = [Column("hyperparameter"), Column("share", True), Column("chance alone (95th percentile)", True)]
    return Table(columns, [[each.name, f"{each.share:.0%}", f"{each.chance:.0%}"] for each in found])
