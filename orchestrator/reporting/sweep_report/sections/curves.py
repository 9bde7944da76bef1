"""Training loss, gradient norm and held-out objective over samples seen, with the points where trials were stopped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict

from orchestrator.records import TrainingSignal
from orchestrator.reporting.sweep_report.facts.facts import STOPPED, SweepFacts, counted, standing
from orchestrator.reporting.sweep_report.facts.thinning import MOST_POINTS, Point, drawn_trials, thin
from orchestrator.reporting.sweep_report.layout.blocks import Block, Chart, Legend, Section, Spec, VegaSpec, note
from orchestrator.reporting.sweep_report.layout.charts import (
    OTHERS,
    PICKED,
    colour_scale,
    faded,
    group_of,
    method_colours,
    number_axis,
    samples_axis,
    tooltip,
)
from orchestrator.results.records import TrialHistory

MOST_OTHER_SCORES = 4
"""Charts of metrics besides the objective: those of the sets that the sweep file names first."""
_SIGNALS: Mapping[str, tuple[str, Callable[[TrainingSignal], float]]] = {
    "training-loss": ("Training loss (plain cross-entropy, nats per token)", lambda signal: signal.loss),
    "gradient-norm": ("Gradient norm before clipping", lambda signal: signal.grad_norm),
}


class _CurvePoint(TypedDict):
    """A point of a curve; ``t`` is the place of its trial."""

    t: int
    x_: int
    y_: float
    most_: float


def curves_section(facts: SweepFacts) -> Section | None:
    """Return the curves; None while no trial has reached a milestone."""
    drawn = drawn_trials(facts)
    if not drawn:
        return None
    colours = method_colours(facts.methods)
    charts = [_held_out(facts, drawn, colours), *_other_scores(facts, drawn, colours)]
    if any(trial.signals for trial in drawn):
        charts += [_signals(facts, drawn, colours, name) for name in _SIGNALS]
    blocks: list[Block] = [
        note(_what(facts, drawn, charts)),
        method_legend(colours, drawn),
        *(chart for chart in charts if chart),
    ]
    return Section("curves", "How the trials went", blocks)


def method_legend(colours: Mapping[str, str], trials: Iterable[TrialHistory]) -> Legend:
    """Return the legend of the methods among trials."""
    groups = {group_of(trial.result.config.method, colours) for trial in trials}
    named = {name: chosen for name, chosen in colours.items() if name in groups}
    return Legend([*named.items(), *([(OTHERS, "other")] if OTHERS in groups else [])])


def _what(facts: SweepFacts, drawn: Sequence[TrialHistory], charts: Sequence[Chart | None]) -> str:
    total = sum(bool(trial.milestones) for trial in facts.trials)
    text = "A cross marks where a trial was stopped, a triangle where it diverged; point at a curve for the trial, at a mark for the reason. The thick curve is the recommended recipe."
    if any(trial.signals for trial in drawn):
        text += f" Series of more than {MOST_POINTS} steps are drawn as means over short stretches; hovering also tells the largest value of the stretch."
    if len(drawn) < total:
        text += (
            f" Of {counted(total, 'trial')} with a milestone {len(drawn)} are drawn: the best, the best of each method, "
            "some that diverged, and others spread evenly over the ranks."
        )
    return text


def _held_out(facts: SweepFacts, drawn: Sequence[TrialHistory], colours: Mapping[str, str]) -> Chart | None:
    series = {}
    for trial in drawn:
        values = [(each.samples_seen, facts.value(each.scores)) for each in trial.milestones]
        series[trial.result.trial_id] = [Point(x, y, y) for x, y in values if y is not None]
    return _chart(facts, drawn, colours, "held-out", f"Held-out: {facts.label}", series, marked=True)


def _other_scores(facts: SweepFacts, drawn: Sequence[TrialHistory], colours: Mapping[str, str]) -> list[Chart | None]:
    """Return a chart of each metric, besides the objective, that was scored at milestones: in the slot, or detached."""
    seen = dict.fromkeys(metric for trial in drawn for metric in _at_two_milestones(trial) if metric != facts.label)
    charts = []
    for number, metric in enumerate(list(seen)[:MOST_OTHER_SCORES], start=1):
        series = {
            trial.result.trial_id: [
                Point(each.samples_seen, each.scores[metric], each.scores[metric])
                for each in trial.milestones
                if math.isfinite(each.scores.get(metric, math.nan))
            ]
            for trial in drawn
        }
        charts.append(_chart(facts, drawn, colours, f"score-{number}", f"Also scored: {metric}", series, marked=True))
    return charts


def _at_two_milestones(trial: TrialHistory) -> list[str]:
    times = Counter(metric for each in trial.milestones for metric in each.scores)
    return [metric for metric, count in times.items() if count > 1]


def _signals(facts: SweepFacts, drawn: Sequence[TrialHistory], colours: Mapping[str, str], name: str) -> Chart | None:
    title, read = _SIGNALS[name]
    series = {
        trial.result.trial_id: thin((signal.samples_seen, read(signal)) for signal in trial.signals) for trial in drawn
    }
    return _chart(facts, drawn, colours, name, title, series, marked=False)


def _chart(
    facts: SweepFacts,
    drawn: Sequence[TrialHistory],
    colours: Mapping[str, str],
    name: str,
    title: str,
    series: Mapping[str, Sequence[Point]],
    marked: bool,
) -> Chart | None:
    points = [point for each in series.values() for point in each]
    if not points:
        return None
    top = _upper_end([point.mean for point in points])
    rows: list[_CurvePoint] = [
        {"t": place, "x_": point.samples, "y_": _short(min(point.mean, top)), "most_": _short(point.most)}
        for place, trial in enumerate(drawn)
        for point in series[trial.result.trial_id]
    ]
    trials = [_trial_row(facts, place, trial, colours) for place, trial in enumerate(drawn)]
    cut = "" if top >= max(point.mean for point in points) else f" (values above {top:.3g} are drawn at the edge)"
    spec = _spec(facts, rows, trials, colours, marked)
    return Chart(f"curves-{name}", spec, title + cut, f"{title} of {len(drawn)} trials over samples seen.")


def _spec(
    facts: SweepFacts, rows: Sequence[_CurvePoint], trials: Sequence[VegaSpec], colours: Mapping[str, str], marked: bool
) -> Spec:
    fields = ["trial", "group", "standing", "reason", "best", "end"]
    levels = [level for level in facts.history.levels if level <= max(row["x_"] for row in rows)] or [1]
    x = {"field": "x_", **samples_axis(levels, begins=min(row["x_"] for row in rows))}
    y = {"field": "y_", **number_axis("", [row["y_"] for row in rows])}
    shown = tooltip(trial="trial", standing="outcome", x_="samples seen", y_="value", most_="largest in stretch")
    ended = tooltip(trial="trial", standing="outcome", y_="value", reason="why")
    base = {"x": x, "y": y, "color": colour_scale(colours)}
    order: list[Spec] = [
        {
            "mark": {"type": "line", "interpolate": "linear", "strokeJoin": "round"},
            "encoding": {
                **base,
                "detail": {"field": "t"},
                "opacity": faded(0.9),
                "strokeWidth": {"condition": {"test": "datum.best", "value": 3.2}, "value": 1.2},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 24 if marked else 60},
            "encoding": {**base, "tooltip": shown, "opacity": faded(0.8) if marked else {"value": 0}},
        },
        {
            "transform": [{"filter": "datum.end != null && datum.x_ == datum.last"}],
            "mark": {"type": "point", "filled": False, "size": 38, "strokeWidth": 2},
            "encoding": {
                **base,
                "tooltip": ended,
                "opacity": faded(1),
                "shape": {
                    "field": "end",
                    "type": "nominal",
                    "legend": None,
                    "scale": {"domain": ["stopped", "diverged"], "range": ["M-1,-1L1,1M1,-1L-1,1", "triangle-up"]},
                },
            },
        },
    ]
    return {
        "height": 280,
        "params": [PICKED],
        "data": {"values": list(rows)},
        "transform": [
            {"lookup": "t", "from": {"data": {"values": list(trials)}, "key": "t", "fields": fields}},
            {"joinaggregate": [{"op": "max", "field": "x_", "as": "last"}], "groupby": ["t"]},
        ],
        "layer": order,
    }


def _trial_row(facts: SweepFacts, place: int, trial: TrialHistory, colours: Mapping[str, str]) -> VegaSpec:
    result = trial.result
    return {
        "t": place,
        "trial": result.name,
        "group": group_of(result.config.method, colours),
        "standing": standing(result),
        "reason": result.reason,
        "best": facts.is_best(result),
        "end": result.outcome.value if result.outcome in STOPPED else None,
    }


def _upper_end(values: Sequence[float]) -> float:
    """Return where the axis ends: beyond all but the wildest values, so that one blow-up does not flatten the rest."""
    ordered = sorted(values)
    typical = ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))]
    # Where nearly all are 0 (exact match early on) there is nothing wild about the others.
    end = 3 * abs(typical) or ordered[-1]
    return min(ordered[-1], end)


def _short(value: float) -> float:
    return float(f"{value:.5g}") if math.isfinite(value) else value
