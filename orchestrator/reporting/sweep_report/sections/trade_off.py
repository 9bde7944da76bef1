"""What stopping would have saved and lost: a sweep whose trials were all trained to their ends, replayed under rules.

Only such a sweep (`run --record`, or one without stopping) can answer that: where trials were stopped nobody knows how they
would have ended. It is one sweep, so an illustration; `orchestrate replay` over several gives figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.decisions.objective import Objective
from orchestrator.errors import OrchestratorError
from orchestrator.records import Outcome, TrainingSignal
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, counted
from orchestrator.reporting.sweep_report.layout.blocks import (
    Chart,
    Column,
    Legend,
    Section,
    Spec,
    Table,
    VegaSpec,
    note,
)
from orchestrator.reporting.sweep_report.layout.charts import colour_scale, number_axis, tooltip
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import TrialHistory
from orchestrator.simulation.recorded.sweep import SIGNAL_COLUMNS, RecordedSweep, RecordedTrial
from orchestrator.simulation.replay import RuleResult, replay
from orchestrator.simulation.rules import choose_rules

RULES = ("ours-forecast", "halving", "top-k-fifth", "random", "paper")
NAMES = {
    "ours-forecast": "by forecast (the default)",
    "halving": "successive halving",
    "top-k-fifth": "best few after a fifth",
    "random": "halving at random",
    "paper": "the paper's rule as written",
}
COLOURS = {name: f"c{place + 1}" for place, name in enumerate(NAMES.values())}
FEWEST, MOST = 8, 200
"""Fewer trials say nothing; more take longer to replay than a report may."""
DRAWS = 4
ENDED = frozenset({Outcome.COMPLETED, Outcome.DIVERGED})


@dataclass(frozen=True)
class Point:
    """One setting of one rule: share of the exhaustive samples, mean regret in the objective's units, how often it kept the best."""

    rule: str
    setting: str
    share: float
    regret: float
    kept: float


def trade_off_section(facts: SweepFacts) -> Section | None:
    """Return samples spent against regret of several rules; None where some trials were stopped, or there are too few or many."""
    searched = [trial for trial in facts.trials if trial.result.role.proposed]
    if not FEWEST <= len(searched) <= MOST or any(trial.result.outcome not in ENDED for trial in searched):
        return None
    try:
        found = points(facts.result.name, searched, facts.objective)
    except (OrchestratorError, ValueError):
        return None  # not every milestone measured the objective
    rows = [
        [NAMES[point.rule], point.setting, f"{point.share:.1%}", number(point.regret), f"{point.kept:.0%}"]
        for point in found
    ]
    columns = [
        Column("rule"),
        Column("setting"),
        Column("samples", True),
        Column(f"{facts.label} lost, mean", True),
        Column("best trial kept", True),
    ]
    told = (
        f"All {counted(len(searched), 'trial')} were trained to their ends, so it is known what stopping would have spent and "
        f"lost here: each rule ran over {DRAWS} random orders of the trials. One sweep is an illustration, no measurement."
    )
    return Section(
        "trade-off",
        "What stopping would have saved",
        [note(told), Legend(list(COLOURS.items())), _chart(facts, found), Table(columns, rows)],
    )


def points(name: str, trials: Sequence[TrialHistory], objective: Objective) -> list[Point]:
    """Return every setting of every rule on a sweep.

    Raises:
        DataError: If a milestone lacks a metric of the objective.
    """
    recorded = RecordedSweep(name, tuple(_recorded(trial) for trial in trials))
    report = replay([recorded], choose_rules(RULES).rules, objective, draws=DRAWS)
    return [_point(result) for result in report.results]


def _point(result: RuleResult) -> Point:
    means = {figure: float(np.nanmean(result.of(figure)[0])) for figure in ("samples_share", "regret", "top_1_kept")}
    rule = result.rule
    return Point(rule.family, rule.knob, means["samples_share"], means["regret"], means["top_1_kept"])


def _recorded(trial: TrialHistory) -> RecordedTrial:
    result = trial.result
    completed = result.outcome is Outcome.COMPLETED
    evaluations = {each.samples_seen: dict(each.scores) for each in trial.milestones if each.scores}
    common = set.intersection(*map(set, evaluations.values())) if evaluations else set()
    return RecordedTrial(
        trial=result.trial_id,
        config={**result.config.as_dict(), "name": result.name},
        cohort=trial.cohort,
        signals=np.array([_row(signal) for signal in trial.signals], dtype=np.float64).reshape(-1, len(SIGNAL_COLUMNS)),
        evals=tuple((seen, {key: evaluations[seen][key] for key in sorted(common)}) for seen in sorted(evaluations)),
        final=dict(result.scores) if completed else {},
        samples=result.config.samples,
        seconds=result.training_seconds,
        status="completed" if completed else "diverged",
    )


def _row(signal: TrainingSignal) -> list[float]:
    values = (
        signal.samples_seen,
        signal.loss,
        signal.grad_norm,
        signal.learning_rate,
        signal.noise_corrected_grad_norm,
    )
    return [math.nan if value is None else float(value) for value in values]


def _chart(facts: SweepFacts, found: Sequence[Point]) -> Chart:
    rows: list[VegaSpec] = [
        {
            "rule": NAMES[point.rule],
            "group": NAMES[point.rule],
            "setting": point.setting,
            "share_": 100 * point.share,
            "regret_": point.regret,
            "kept_": 100 * point.kept,
        }
        for point in found
    ]
    return Chart(
        "trade-off",
        _spec(facts, rows, found),
        f"Samples spent against {facts.label} lost",
        f"{len(rows)} settings of {len(RULES)} rules, by samples spent and {facts.label} lost.",
    )


def _spec(facts: SweepFacts, rows: list[VegaSpec], found: Sequence[Point]) -> Spec:
    x_axis = number_axis("samples, % of training all to the end", [100 * point.share for point in found])
    y_axis = number_axis(f"{facts.label} lost against the best, mean", [], scale={"zero": True})
    base = {
        "x": {"field": "share_", **x_axis},
        "y": {"field": "regret_", **y_axis},
        "color": colour_scale(COLOURS),
    }
    told = tooltip(
        rule="rule", setting="setting", share_="samples, %", regret_=f"{facts.label} lost", kept_="best trial kept, %"
    )
    order = {"field": "share_", "type": "quantitative"}
    return {
        "height": 280,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "line", "interpolate": "linear", "opacity": 0.6}, "encoding": {**base, "order": order}},
            {"mark": {"type": "point", "filled": True, "size": 70}, "encoding": {**base, "tooltip": told}},
        ],
    }
