"""What the best objective costs: completed trials by objective against forgetting, and against training time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict

from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, as_objective
from orchestrator.reporting.sweep_report.layout.blocks import Block, Chart, Column, Gallery, Section, Spec, Table, note
from orchestrator.reporting.sweep_report.layout.charts import (
    PANEL_WIDTH,
    PICKED,
    colour,
    colour_scale,
    faded,
    group_of,
    method_colours,
    number_axis,
    tooltip,
)
from orchestrator.reporting.sweep_report.sections.curves import method_legend
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import TrialHistory, TrialResult

Read = Callable[[TrialResult], float | None]
Mode = Literal["min", "max"]
MOST_LISTED = 12


def pareto_section(facts: SweepFacts) -> Section | None:
    """Return the trade-offs of the completed trials; None with fewer than two."""
    if len(facts.completed) < 2:
        return None
    charts, tables = [], []
    for name, title, mode, read in _rivals(facts):
        values = [(trial, read(trial.result)) for trial in facts.completed]
        points = [(trial, value) for trial, value in values if value is not None and math.isfinite(value)]
        if len(points) > 1 and len({value for _, value in points}) > 1:
            front = pareto_front([(facts.loss(t.result.objective or 0.0), _loss(v, mode)) for t, v in points])
            charts.append(_chart(facts, name, title, mode, points, front))
            tables.append((title, [points[place] for place in front]))
    if not charts:
        return None
    blocks: list[Block] = [
        note(
            "Completed trials only: forgetting and time of a stopped trial would be those of a shorter training. Marks with a dark rim are on the Pareto front: no completed trial is better in both."
        ),
        method_legend(method_colours(facts.methods), facts.completed),
        Gallery(charts, least_width=330),
        *(_table(facts, title, front) for title, front in tables),
    ]
    return Section("pareto", "What the best objective costs", blocks)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that no other one beats in both (less is better), by rising first value."""
    order = sorted(range(len(points)), key=lambda place: points[place])
    front, least = [], float("inf")
    for place in order:
        if points[place][1] < least:
            front.append(place)
            least = points[place][1]
    return front


def _rivals(facts: SweepFacts) -> list[tuple[str, str, Mode, Read]]:
    """Return what is held against the objective: (name of the chart, title, mode, how to read it from a trial)."""
    found: list[tuple[str, str, Mode, Read]] = []
    for metric in facts.spec.metrics:
        if metric.endswith("/forgetting") and metric not in facts.objective.weights:
            found.append((f"pareto-{len(found) + 1}", metric, "min", lambda trial, name=metric: trial.scores.get(name)))  # type: ignore[misc]
    for spec in facts.spec.searcher.objectives:
        other = as_objective(spec)
        if other.label != facts.label and all(other.label != title for _, title, _, _ in found):
            found.append((f"pareto-{len(found) + 1}", other.label, spec.mode, _reader(other.weights)))
    found.append(("pareto-time", "training time, seconds", "min", lambda trial: trial.training_seconds or None))
    return found


def _reader(weights: Mapping[str, float]) -> Read:
    def read(trial: TrialResult) -> float | None:
        if any(name not in trial.scores for name in weights):
            return None
        return sum(weight * trial.scores[name] for name, weight in weights.items())

    return read


def _loss(value: float, mode: Mode) -> float:
    return value if mode == "min" else -value


class _Point(TypedDict):
    """A completed trial between two scores."""

    trial: str
    group: str
    x_: float | None
    y_: float
    front: bool


def _chart(
    facts: SweepFacts,
    name: str,
    title: str,
    mode: Mode,
    points: Sequence[tuple[TrialHistory, float]],
    front: Sequence[int],
) -> Chart:
    colours = method_colours(facts.methods)
    rows: list[_Point] = [
        {
            "trial": trial.result.name,
            "group": group_of(trial.result.config.method, colours),
            "x_": trial.result.objective,
            "y_": value,
            "front": place in front,
        }
        for place, (trial, value) in enumerate(points)
    ]
    spec = _spec(facts, rows, title, mode, colours)
    return Chart(
        name, spec, f"{facts.label} against {title}", f"{len(rows)} completed trials by {facts.label} and {title}."
    )


def _spec(facts: SweepFacts, rows: list[_Point], title: str, mode: Mode, colours: Mapping[str, str]) -> Spec:
    words = {"min": "lower is better", "max": "higher is better"}
    x_axis = number_axis(
        f"{facts.label} ({words[facts.objective.mode]})",
        [row["x_"] for row in rows if row["x_"] is not None],
        scale={"padding": 12},
    )
    y_axis = number_axis(f"{title} ({words[mode]})", [row["y_"] for row in rows], scale={"padding": 12})
    base = {"x": {"field": "x_", **x_axis}, "y": {"field": "y_", **y_axis}}
    told = tooltip(trial="trial", x_=facts.label, y_=title)
    return {
        "height": 260,
        "static_width": PANEL_WIDTH,
        "params": [PICKED],
        "data": {"values": rows},
        "layer": [
            {
                "transform": [{"filter": "datum.front"}],
                "mark": {"type": "line", "interpolate": "linear", "color": colour("faint"), "strokeDash": [4, 3]},
                "encoding": {**base, "order": {"field": "x_", "type": "quantitative"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 95},
                "encoding": {
                    **base,
                    "color": colour_scale(colours),
                    "tooltip": told,
                    "opacity": faded(0.95),
                    "stroke": {"condition": {"test": "datum.front", "value": colour("ink")}, "value": "transparent"},
                    "strokeWidth": {"value": 2},
                },
            },
        ],
    }


def _table(facts: SweepFacts, title: str, front: Sequence[tuple[TrialHistory, float]]) -> Table:
    columns = [Column(f"on the front against {title}"), Column(facts.label, True), Column(title, True)]
    rows = [[trial.result.name, number(trial.result.objective), number(value)] for trial, value in front[:MOST_LISTED]]
    return Table(columns, rows)
