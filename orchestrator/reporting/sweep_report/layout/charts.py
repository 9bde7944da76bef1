"""What the report's charts share: colours that follow the page's theme, axes, and the way to a static picture.

Charts are Vega-Lite specifications. In the page they are drawn by Vega, which is embedded in it; colours are CSS
variables, so that dark mode and print need no second drawing. For Markdown and MLflow they are drawn here, as SVG.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType

from orchestrator.reporting.sweep_report.layout.blocks import Chart, Spec, VegaSpec

VEGA_LITE = "6.4"
SCHEMA = f"https://vega.github.io/schema/vega-lite/v{VEGA_LITE[0]}.json"
STATIC_WIDTH, PANEL_WIDTH = 720, 340

# Okabe and Ito's palette (distinct under the common kinds of colour blindness), darkened or lightened per theme.
LIGHT = {
    "ink": "#1d2227",
    "faint": "#5f6972",
    "rule": "#e2e5e8",
    "card": "#ffffff",
    "accent": "#0b5fa5",
    "good": "#00755a",
    "bad": "#b8450b",
    "c1": "#0b6fb8",
    "c2": "#c7590a",
    "c3": "#00825f",
    "c4": "#a8447f",
    "c5": "#8a6d00",
    "c6": "#3a9bd1",
    "c7": "#6a3d9a",
    "c8": "#7a4a1d",
    "other": "#8b949c",
}
DARK = {
    "ink": "#e6e9ec",
    "faint": "#a1abb4",
    "rule": "#30373d",
    "card": "#1b1f23",
    "accent": "#6db6f2",
    "good": "#4fc9a4",
    "bad": "#ff9a62",
    "c1": "#5aaeea",
    "c2": "#f0904a",
    "c3": "#3fc79b",
    "c4": "#e58dc0",
    "c5": "#d9bb45",
    "c6": "#9fd8ff",
    "c7": "#bb9ae6",
    "c8": "#c99a6b",
    "other": "#7f8a93",
}
MOST_COLOURS = 8
OTHERS = "other methods"


def colour(name: str) -> str:
    """Return a colour of the theme as charts name it."""
    return f"var(--{name})"


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return a colour name per method: the best eight have their own, the others share one."""
    return {name: f"c{place + 1}" if place < MOST_COLOURS else "other" for place, name in enumerate(methods)}


def colour_scale(colours: Mapping[str, str]) -> VegaSpec:
    """Return the colour channel of a field ``group``, whose values are those of `groups`."""
    named = {name: chosen for name, chosen in colours.items() if chosen != "other"}
    if len(named) < len(colours):
        named[OTHERS] = "other"
    scale = {"domain": list(named), "range": [colour(chosen) for chosen in named.values()]}
    return {"field": "group", "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}


def group_of(method: str, colours: Mapping[str, str]) -> str:
    """Return the entry of the legend that a method belongs to."""
    return method if colours[method] != "other" else OTHERS


PICKED = {"name": "picked", "value": None}
"""Parameter that the page sets when a reader picks a method in the legend."""


def faded(opacity: float) -> VegaSpec:
    """Return an opacity that falls for methods that are not picked."""
    return {"condition": {"test": "picked == null || datum.group == picked", "value": opacity}, "value": 0.06}


def number_axis(title: str, values: Sequence[float], scale: Mapping[str, object] | None = None) -> VegaSpec:
    """Return an axis for positive or signed numbers, logarithmic where they span more than a factor of twelve.

    Args:
        title: What it shows.
        values: What is drawn.
        scale: What else its scale is to be.
    """
    finite = [value for value in values if math.isfinite(value)]
    ruled: VegaSpec = {"zero": False, "nice": True}
    axis: VegaSpec = {"title": title, "tickCount": 6}
    if finite and min(finite) > 0 and max(finite) / min(finite) > 12:
        low, high = min(finite) / 1.08, max(finite) * 1.08
        ruled = {"type": "log", "nice": False, "domain": [low, high]}
        axis |= {"values": log_ticks(low, high), "format": "~g"}
    return {"type": "quantitative", "scale": {**ruled, **(scale or {})}, "axis": axis}


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers in a range of positive ones, as many as an axis has room for."""
    found: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        new = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        new = [tick for tick in new if low <= tick <= high]
        if found and len(new) > 9:
            break
        found = new
    return found


def samples_axis(
    levels: Sequence[int], title: str = "samples seen (milestones)", begins: int | None = None
) -> VegaSpec:
    """Return the axis of samples seen, with the milestones as ticks; logarithmic where they are spread so.

    Args:
        levels: The milestones.
        title: What stands at the axis.
        begins: Where curves begin; a logarithmic axis shows it, too, where it lies before the first milestone.
    """
    log = len(levels) > 2 and levels[0] * 6 <= levels[-1]
    scale: VegaSpec = {"type": "log", "nice": False} if log else {"nice": False, "zero": True}
    ticks = list(levels)
    if log and begins is not None and begins < levels[0]:
        ticks = [begins, *ticks]
        scale["domainMin"] = begins
    axis = {
        "title": title,
        "values": ticks,
        "format": ",d",
        "labelOverlap": "greedy",
        "labelFlush": True,
        "labelSeparation": 8,
    }
    return {"type": "quantitative", "scale": scale, "axis": axis}


def tooltip(**fields: str) -> list[dict[str, str]]:
    """Return a tooltip: field name -> its title. Formats: fields that end in ``_`` are numbers."""
    return [
        {"field": name, "type": "quantitative", "title": title, "format": ".4~g"}
        if name.endswith("_")
        else {"field": name, "type": "nominal", "title": title}
        for name, title in fields.items()
    ]


def config(static: bool) -> VegaSpec:
    """Return the look shared by all charts; only static ones carry their own legends."""
    text = {"labelColor": colour("faint"), "titleColor": colour("faint"), "labelFontSize": 11, "titleFontSize": 12}
    return {
        "background": colour("card") if static else "transparent",
        "font": "sans-serif" if static else "system-ui, sans-serif",
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": colour("rule"),
            "domainColor": colour("rule"),
            "tickColor": colour("rule"),
            "labelLimit": 170,
        },
        "legend": {**text, "symbolType": "square"},
        # The figure says in words what a chart shows; a label on each of thousands of marks would say nothing more.
        "aria": False,
        "header": {**text},
        "text": {"color": colour("ink"), "fontSize": 11},
        "view": {"stroke": None},
        "rule": {"color": colour("faint")},
    }


def page_spec(spec: Spec) -> VegaSpec:
    """Return a chart for the page: as wide as its place, legends left to the page."""
    sized = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return {"$schema": SCHEMA, **sized, **_without_legends(spec), "config": config(static=False)}


def _without_legends(spec: Spec) -> VegaSpec:
    return {
        key: None if key == "legend" else entry if key == "data" else _part_without_legends(entry)
        for key, entry in spec.items()
        if key != "static_width"
    }


def _part_without_legends(part: object) -> object:
    if isinstance(part, Mapping):
        return _without_legends(part)
    return [_part_without_legends(entry) for entry in part] if isinstance(part, list) else part


def static_svg(chart: Chart) -> str:
    """Return a chart as an SVG picture in the light theme, without interaction."""
    spec = dict(chart.spec)
    width = spec.pop("static_width", STATIC_WIDTH)
    title = {"text": chart.title, "anchor": "start", "fontSize": 13, "color": colour("ink")}
    text = json.dumps(
        finite({"$schema": SCHEMA, "title": title, "width": width, **spec, "config": config(static=True)})
    )
    for name, value in LIGHT.items():
        text = text.replace(colour(name), value)
    return str(_vl_convert().vegalite_to_svg(text, vl_version=VEGA_LITE))


def finite(value: object) -> object:
    """Return a value of JSON with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


@lru_cache(maxsize=1)
def drawing_library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, for the page."""
    return str(_vl_convert().javascript_bundle(vl_version=VEGA_LITE))


def _vl_convert() -> ModuleType:
    # Loads a JavaScript engine: a second or two that other commands need not wait for.
    import vl_convert

    return vl_convert
