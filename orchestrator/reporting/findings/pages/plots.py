"""The charts of the findings report, as Vega-Lite."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.reporting.findings.analysis.outcome import Judged
from orchestrator.reporting.sweep_report.layout.blocks import Chart, VegaSpec
from orchestrator.reporting.sweep_report.layout.charts import PANEL_WIDTH, PICKED, colour, number_axis

SHADES = {"reproduced": "good", "not reproduced": "bad", "undecided": "other"}
"""Colour of each verdict."""

_TWO_LINES = "split(replace(datum.label, ' (', '\\n('), '\\n')"
"""Puts what stands in brackets under a label."""

_LABEL_CHARACTERS, _LINE_HEIGHT, _ROW_HEIGHT = 56, 14, 20
SERIES = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")


@dataclass(frozen=True)
class Dot:
    """A value with its 95 % interval, if it has one, at a place of a nominal axis."""

    place: str
    value: float
    series: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Step:
    """A point of a curve."""

    x: float
    y: float
    series: str


def colours_of(series: Sequence[str]) -> dict[str, str]:
    """Return a colour's name for each series, in order; beyond eight they repeat."""
    return {name: SERIES[place % len(SERIES)] for place, name in enumerate(dict.fromkeys(series))}


def dots_chart(name: str, title: str, x: str, y: str, dots: Sequence[Dot], alt: str) -> Chart:
    """Return values beside each other by place and series, with intervals."""
    rows = [
        {"place": dot.place, "y_": dot.value, "group": dot.series, "low": dot.low, "high": dot.high} for dot in dots
    ]
    values = [value for dot in dots for value in (dot.value, dot.low, dot.high) if value is not None]
    places = list(dict.fromkeys(dot.place for dot in dots))
    shared = {
        "x": {
            "field": "place",
            "type": "nominal",
            "sort": places,
            "axis": {"title": x, "labelAngle": 0, "labelExpr": _TWO_LINES},
        },
        "xOffset": {"field": "group", "type": "nominal"},
        "color": _colour([dot.series for dot in dots]),
        "opacity": _faded([dot.series for dot in dots]),
    }
    spec = {
        "height": 240,
        "static_width": PANEL_WIDTH,
        "params": [PICKED],
        "data": {"values": rows},
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.low)"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {**shared, "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80},
                "encoding": {
                    **shared,
                    "y": {"field": "y_", **number_axis(y, values, scale={"padding": 12})},
                    "tooltip": _told(place=x, group="", y_=y, low="95 % from", high="to"),
                },
            },
        ],
    }
    return Chart(name, spec, title, alt)


def curves_chart(name: str, title: str, x: str, y: str, steps: Sequence[Step], alt: str, log_x: bool = True) -> Chart:
    """Return curves by series."""
    drawn = [step for step in steps if math.isfinite(step.y)]
    axis = {"title": x, "format": "~g", "tickCount": 5, "labelOverlap": "greedy", "labelSeparation": 8}
    x_axis: VegaSpec = {"type": "quantitative", "axis": axis}
    x_axis["scale"] = {"type": "log" if log_x else "linear", "nice": False}
    spec = {
        "height": 240,
        "static_width": PANEL_WIDTH,
        "params": [PICKED],
        "data": {"values": _rows(drawn)},
        "mark": {"type": "line", "point": {"size": 26}, "strokeWidth": 1.8},
        "encoding": {
            "x": {"field": "x_", **x_axis},
            "y": {"field": "y_", **number_axis(y, [step.y for step in drawn], scale={"padding": 8})},
            "color": _colour([step.series for step in steps]),
            "opacity": _faded([step.series for step in steps]),
            "tooltip": _told(group="", x_=x, y_=y),
        },
    }
    return Chart(name, spec, title, alt)


def scatter_chart(name: str, title: str, x: str, y: str, steps: Sequence[Step], alt: str) -> Chart:
    """Return points by series."""
    drawn = [step for step in steps if math.isfinite(step.x) and math.isfinite(step.y)]
    spec = {
        "height": 240,
        "static_width": PANEL_WIDTH,
        "params": [PICKED],
        "data": {"values": _rows(drawn)},
        "mark": {"type": "point", "filled": True, "size": 55},
        "encoding": {
            "x": {"field": "x_", **number_axis(x, [step.x for step in drawn], scale={"padding": 8})},
            # With zero among the values the axis is linear: scores are compared by their differences.
            "y": {"field": "y_", **number_axis(y, [0.0, *(step.y for step in drawn)], scale={"padding": 8})},
            "color": _colour([step.series for step in steps]),
            "opacity": _faded([step.series for step in steps]),
            "tooltip": _told(group="", x_=x, y_=y),
        },
    }
    return Chart(name, spec, title, alt)


def _rows(steps: Sequence[Step]) -> list[VegaSpec]:
    return [{"x_": step.x, "y_": step.y, "group": step.series} for step in steps]


def effects_chart(name: str, title: str, judged: Sequence[Judged], alt: str) -> Chart:
    """Return effects with their intervals; the dashed lines are the smallest effect that matters, to either side.

    What is compared stands above each interval rather than beside it, so that there is room on a telephone, too.
    """
    known = [each for each in judged if each.effect.known]
    labels = [textwrap.wrap(each.comparison.says, _LABEL_CHARACTERS) for each in known]
    most = max(map(len, labels), default=1)
    rows = [
        {
            "label": each.comparison.says,
            "says": "\n".join([" "] * (most - len(lines)) + lines),
            "y_": each.effect.value,
            "low": each.effect.low,
            "high": each.effect.high,
            "group": each.verdict,
            "minimum": each.minimum,
            "other": -each.minimum,
        }
        for each, lines in zip(known, labels, strict=True)
    ]
    place = {"field": "label", "type": "nominal", "sort": None, "axis": None}
    shade = {
        "field": "group",
        "type": "nominal",
        "scale": {"domain": list(SHADES), "range": [colour(name) for name in SHADES.values()]},
        "legend": {"title": None, "orient": "top"},
    }
    drawn = {"y": place, "color": shade, "opacity": _faded([each.verdict for each in known])}
    dashed = {"type": "tick", "thickness": 1, "size": 16, "color": colour("faint")}
    axis = {"title": "effect (above 0 as claimed), 95 % interval", "tickCount": 7}
    span = {"type": "quantitative", "axis": axis}
    spec = {
        "height": {"step": _ROW_HEIGHT + _LINE_HEIGHT * most},
        "params": [PICKED],
        "data": {"values": rows},
        "layer": [
            {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule"}, "encoding": {"x": {"field": "zero", **span}}},
            {"mark": dashed, "encoding": {"y": place, "x": {"field": "minimum", **span}}},
            {"mark": dashed, "encoding": {"y": place, "x": {"field": "other", **span}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2.5},
                "encoding": {**drawn, "x": {"field": "low", **span}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 75},
                "encoding": {
                    **drawn,
                    "x": {"field": "y_", **span},
                    "tooltip": _told(label="", y_="effect", low="95 % from", high="to", group="verdict"),
                },
            },
            {
                "mark": {
                    "type": "text",
                    "align": "left",
                    "baseline": "line-bottom",
                    "dy": -9 - _LINE_HEIGHT * (most - 1),
                    "lineBreak": "\n",
                    "lineHeight": _LINE_HEIGHT,
                },
                "encoding": {"y": place, "x": {"value": 2}, "text": {"field": "says", "type": "nominal"}},
            },
        ],
    }
    return Chart(name, spec, title, alt)


def _faded(series: Sequence[str]) -> VegaSpec:
    """Return an opacity that falls for series that are not picked, where the picked one is in the chart at all."""
    own = f"indexof({json.dumps(list(dict.fromkeys(series)))}, picked) < 0"
    return {"condition": {"test": f"picked == null || {own} || datum.group == picked", "value": 0.9}, "value": 0.08}


def _colour(series: Sequence[str]) -> VegaSpec:
    named = colours_of(series)
    scale = {"domain": list(named), "range": [colour(chosen) for chosen in named.values()]}
    return {"field": "group", "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}


def _told(**fields: str) -> list[Mapping[str, str]]:
    numbers = {"x_", "y_", "low", "high"}
    return [
        {"field": name, "title": title or " "}
        | ({"type": "quantitative", "format": ".4~g"} if name in numbers else {"type": "nominal"})
        for name, title in fields.items()
    ]
