"""The charts of the findings report, as Vega-Lite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.findings.outcome import Judged
from orchestrator.reporting.sweep_report.blocks import Chart
from orchestrator.reporting.sweep_report.charts import PANEL_WIDTH, colour, number_axis

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
        {"place": dot.place, "y_": dot.value, "series": dot.series, "low": dot.low, "high": dot.high} for dot in dots
    ]
    values = [value for dot in dots for value in (dot.value, dot.low, dot.high) if value is not None]
    places = list(dict.fromkeys(dot.place for dot in dots))
    shared = {
        "x": {"field": "place", "type": "nominal", "sort": places, "axis": {"title": x, "labelAngle": 0}},
        "xOffset": {"field": "series", "type": "nominal"},
        "color": _colour([dot.series for dot in dots]),
    }
    spec = {
        "height": 240, "static_width": PANEL_WIDTH, "data": {"values": rows},
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.low)"}],
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {**shared, "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80},
                "encoding": {**shared, "y": {"field": "y_", **number_axis(y, values, scale={"padding": 12})},
                             "tooltip": _told(place=x, series="", y_=y, low="95 % from", high="to")},
            },
        ],
    }  # fmt: skip
    return Chart(name, spec, title, alt)


def curves_chart(
    name: str, title: str, x: str, y: str, steps: Sequence[Step], alt: str, log_x: bool = True
) -> Chart:  # fmt: skip
    """Return curves by series."""
    rows: list[dict[str, Any]] = [
        {"x_": step.x, "y_": step.y, "series": step.series} for step in steps if math.isfinite(step.y)
    ]
    x_axis: dict[str, Any] = {"type": "quantitative", "axis": {"title": x, "format": "~g", "tickCount": 5}}
    x_axis["scale"] = {"type": "log" if log_x else "linear", "nice": False}
    spec = {
        "height": 240, "static_width": PANEL_WIDTH, "data": {"values": rows},
        "mark": {"type": "line", "point": {"size": 26}, "strokeWidth": 1.8},
        "encoding": {
            "x": {"field": "x_", **x_axis},
            "y": {"field": "y_", **number_axis(y, [row["y_"] for row in rows], scale={"padding": 8})},
            "color": _colour([step.series for step in steps]),
            "tooltip": _told(series="", x_=x, y_=y),
        },
    }  # fmt: skip
    return Chart(name, spec, title, alt)


def scatter_chart(name: str, title: str, x: str, y: str, steps: Sequence[Step], alt: str) -> Chart:
    """Return points by series."""
    rows: list[dict[str, Any]] = [
        {"x_": s.x, "y_": s.y, "series": s.series} for s in steps if math.isfinite(s.x) and math.isfinite(s.y)
    ]
    spec = {
        "height": 240, "static_width": PANEL_WIDTH, "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.85},
        "encoding": {
            "x": {"field": "x_", **number_axis(x, [row["x_"] for row in rows], scale={"padding": 8})},
            "y": {"field": "y_", **number_axis(y, [row["y_"] for row in rows], scale={"padding": 8})},
            "color": _colour([step.series for step in steps]),
            "tooltip": _told(series="", x_=x, y_=y),
        },
    }  # fmt: skip
    return Chart(name, spec, title, alt)


def effects_chart(name: str, title: str, judged: Sequence[Judged], alt: str) -> Chart:
    """Return effects with their intervals; the dashed lines are the smallest effect that matters, to either side."""
    rows = [
        {
            "label": each.comparison.says, "y_": each.effect.value, "low": each.effect.low, "high": each.effect.high,
            "verdict": each.verdict, "minimum": each.minimum, "other": -each.minimum,
        }
        for each in judged if each.effect.known
    ]  # fmt: skip
    shades = {"reproduced": "good", "not reproduced": "bad", "undecided": "other"}
    place = {"field": "label", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 420}}
    shade = {
        "field": "verdict", "type": "nominal",
        "scale": {"domain": list(shades), "range": [colour(name) for name in shades.values()]},
        "legend": {"title": None, "orient": "top"},
    }  # fmt: skip
    dashed = {"type": "tick", "thickness": 1, "size": 16, "color": colour("faint")}
    span = {"type": "quantitative", "axis": {"title": "effect (more is as claimed), 95 % interval", "tickCount": 7}}
    spec = {
        "height": {"step": 26}, "data": {"values": rows},
        "layer": [
            {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule"}, "encoding": {"x": {"field": "zero", **span}}},
            {"mark": dashed, "encoding": {"y": place, "x": {"field": "minimum", **span}}},
            {"mark": dashed, "encoding": {"y": place, "x": {"field": "other", **span}}},
            {"mark": {"type": "rule", "strokeWidth": 2.5},
             "encoding": {"y": place, "x": {"field": "low", **span}, "x2": {"field": "high"}, "color": shade}},
            {"mark": {"type": "point", "filled": True, "size": 75},
             "encoding": {"y": place, "x": {"field": "y_", **span}, "color": shade,
                          "tooltip": _told(label="", y_="effect", low="95 % from", high="to", verdict="verdict")}},
        ],
    }  # fmt: skip
    return Chart(name, spec, title, alt)


def _colour(series: Sequence[str]) -> dict[str, Any]:
    named = colours_of(series)
    scale = {"domain": list(named), "range": [colour(chosen) for chosen in named.values()]}
    return {"field": "series", "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}


def _told(**fields: str) -> list[Mapping[str, str]]:
    numbers = {"x_", "y_", "low", "high"}
    return [
        {"field": name, "title": title or " "} | ({"type": "quantitative", "format": ".4~g"} if name in numbers else {"type": "nominal"})
        for name, title in fields.items()
    ]  # fmt: skip
