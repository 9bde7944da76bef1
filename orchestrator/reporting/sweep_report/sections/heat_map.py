"""Learning rate x effective batch size, one panel per method: the objective at the last milestone that was reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, counted, is_number, standing
from orchestrator.reporting.sweep_report.layout.blocks import Block, Chart, Gallery, Section, Spec, VegaSpec, note
from orchestrator.reporting.sweep_report.layout.charts import PANEL_WIDTH, colour, log_ticks, tooltip
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import TrialHistory
from orchestrator.spec.trial.identity import short_number

MOST_PANELS, MOST_RATES, MOST_ROWS = 12, 9, 8
ROW_HEIGHT, POINT_HEIGHT = 46, 190
_MARK = {Outcome.COMPLETED: "", Outcome.STOPPED: "stopped", Outcome.DIVERGED: "diverged", Outcome.FAILED: "failed"}


def heat_map_section(facts: SweepFacts) -> Section | None:
    """Return a panel per method; None while nothing was judged."""
    tried = [name for name in facts.methods if _trials(facts, name)]
    if not facts.judged:
        return None
    shown = tried[:MOST_PANELS]
    shades = _shades(facts)
    panels = [_panel(facts, place, name, shades) for place, name in enumerate(shown)]
    blocks: list[Block] = [note(_what(facts, tried)), Gallery(panels, least_width=300)]
    return Section("heat-map", "Learning rate and effective batch size", blocks)


def _what(facts: SweepFacts, tried: Sequence[str]) -> str:
    gridded = [_gridded(_trials(facts, name)) for name in tried[:MOST_PANELS]]
    marks = (["a dashed frame and the samples it had seen"] if any(gridded) else []) + (
        [] if all(gridded) else ["a square"]
    )
    text = (
        f"{facts.label} at the last milestone that each trial reached; stronger colour is better. A trial that was "
        f"stopped was measured earlier than one that completed: it is drawn with {' or '.join(marks)}, and its value "
        "compares with the others only roughly."
    )
    hidden = _hidden_dimensions(facts)
    if hidden:
        text += f" Where several trials share a cell (they differ in {', '.join(hidden)}), the best is shown."
    if len(tried) > MOST_PANELS:
        text += f" The {MOST_PANELS} best of {counted(len(tried), 'method')} are shown."
    return text


def _hidden_dimensions(facts: SweepFacts) -> list[str]:
    places: dict[tuple[str, float, int], int] = {}
    for trial in facts.trials:
        config = trial.result.config
        place = (config.method, config.learning_rate, config.effective_batch_size)
        places[place] = places.get(place, 0) + 1
    if max(places.values(), default=0) < 2:
        return []
    names = sorted(facts.space.varied - {"learning_rate", "effective_batch_size"})
    return [name.removeprefix("option.") for name in names] or ["the seed"]


def _trials(facts: SweepFacts, method: str) -> list[TrialHistory]:
    return [trial for trial in facts.trials if trial.result.config.method == method and trial.milestones]


def _gridded(trials: Sequence[TrialHistory]) -> bool:
    """Whether the trials fit a grid of cells; else each is a mark."""
    rates = {trial.result.config.learning_rate for trial in trials}
    sizes = {trial.result.config.effective_batch_size for trial in trials}
    return len(rates) <= MOST_RATES and len(sizes) <= MOST_ROWS


def _shades(facts: SweepFacts) -> Mapping[str, float]:
    """Return how good each judged trial's value is, from 0 (worst) to 1 (best), on the scale that spreads them well."""
    losses = {trial.result.trial_id: facts.loss(trial.result.objective or 0.0) for trial in facts.judged}
    low = min(losses.values())
    span = max(losses.values()) - low
    if span <= 0:
        return dict.fromkeys(losses, 1.0)
    # Most of the range lies among bad trials, most of the interest among good ones.
    unit = sorted(losses.values())[len(losses) // 3] - low or span / 10
    return {name: 1 - math.asinh((loss - low) / unit) / math.asinh(span / unit) for name, loss in losses.items()}


def _panel(facts: SweepFacts, place: int, method: str, shades: Mapping[str, float]) -> Chart:
    rows = [_row(facts, trial, shades) for trial in _trials(facts, method)]
    rates = sorted({row["rate_"] for row in rows})
    sizes = sorted({row["size_"] for row in rows})
    spec = _grid(rows, rates, sizes) if _gridded(_trials(facts, method)) else _scatter(rows, rates, sizes)
    alt = f"{facts.label} of {counted(len(rows), 'trial')} of {method} by learning rate and effective batch size."
    return Chart(f"heat-map-{place + 1}", spec, method, alt)


class _Cell(TypedDict):
    """One trial as it is drawn."""

    trial: str
    rate_: float
    rate: str
    size_: int
    size: str
    value: str
    objective: str
    standing: str
    reason: str
    mark: str
    done: bool
    shade: float
    best: bool


def _row(facts: SweepFacts, trial: TrialHistory, shades: Mapping[str, float]) -> _Cell:
    result = trial.result
    mark = _MARK.get(result.outcome, "running")
    shown = number(result.objective, 3) if is_number(result.objective) else "-"
    return {
        "trial": result.name,
        "rate_": result.config.learning_rate,
        "rate": short_number(result.config.learning_rate),
        "size_": result.config.effective_batch_size,
        "size": str(result.config.effective_batch_size),
        "value": shown,
        "objective": number(result.objective),
        "standing": standing(result),
        "reason": result.reason,
        "mark": f"{mark} {result.samples_seen:,}" if mark else "audited" if result.audited else "",
        "done": not mark,
        "shade": round(0.06 + 0.86 * shades.get(result.trial_id, 0.0), 3),
        "best": facts.is_best(result),
    }


def _grid(rows: Sequence[_Cell], rates: Sequence[float], sizes: Sequence[int]) -> Spec:
    """Return one cell per combination; rows come best first, so the first one of a cell is its best."""
    cells: dict[tuple[str, str], _Cell] = {}
    for row in rows:
        cells.setdefault((row["rate"], row["size"]), row)
    x = {
        "field": "rate",
        "type": "ordinal",
        "sort": list(dict.fromkeys(map(short_number, rates))),
        "scale": {"paddingInner": 0.06, "paddingOuter": 0.03},
        "axis": {"title": "learning rate", "labelAngle": 0, "labelOverlap": "greedy", "domain": False, "ticks": False},
    }
    y = {
        "field": "size",
        "type": "ordinal",
        "sort": [str(size) for size in reversed(sizes)],
        "scale": {"paddingInner": 0.1, "paddingOuter": 0.05},
        "axis": {"title": "effective batch size", "domain": False, "ticks": False, "labelPadding": 6},
    }
    ink = {"condition": {"test": "datum.shade > 0.62", "value": colour("card")}, "value": colour("ink")}
    told = tooltip(trial="trial", objective="objective", standing="outcome", reason="why")
    return {
        "height": ROW_HEIGHT * len(sizes),
        "static_width": PANEL_WIDTH,
        "data": {"values": list(cells.values())},
        "encoding": {"x": x, "y": y, "tooltip": told},
        "layer": [
            # The dash of a frame cannot depend on the data, so there is a layer for each kind of frame.
            {"transform": [{"filter": "datum.done"}], **_cells({})},
            {"transform": [{"filter": "!datum.done"}], **_cells({"strokeDash": [3, 3]})},
            {
                "mark": {"type": "text", "dy": -6, "fontSize": 13, "fontWeight": 600},
                "encoding": {"text": {"field": "value"}, "color": ink},
            },
            {
                "mark": {"type": "text", "dy": 10, "fontSize": 9.5},
                "encoding": {"text": {"field": "mark"}, "color": ink},
            },
        ],
    }


def _cells(frame: VegaSpec) -> Spec:
    return {
        "mark": {"type": "rect", "fill": colour("accent"), "cornerRadius": 3, **frame},
        "encoding": {
            "fillOpacity": {"field": "shade", "type": "quantitative", "scale": None, "legend": None},
            "stroke": {"condition": {"test": "datum.best", "value": colour("bad")}, "value": colour("faint")},
            "strokeWidth": {"condition": {"test": "datum.best", "value": 3}, "value": 1},
        },
    }


def _scatter(rows: Sequence[_Cell], rates: Sequence[float], sizes: Sequence[int]) -> Spec:
    """Return one mark per trial, for learning rates from a range."""
    many = len(sizes) > MOST_ROWS
    x = {
        "field": "rate_",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {
            "title": "learning rate",
            "format": "~e",
            "values": log_ticks(rates[0], rates[-1]),
            "labelOverlap": "greedy",
        },
    }
    axis = {"title": "effective batch size", "values": [] if many else list(sizes)}
    y = {
        "field": "size_",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 14},
        "axis": {key: value for key, value in axis.items() if value},
    }
    told = tooltip(trial="trial", objective="objective", standing="outcome", reason="why")
    return {
        "height": POINT_HEIGHT,
        "static_width": PANEL_WIDTH,
        "data": {"values": list(reversed(rows))},
        "mark": {"type": "point", "filled": True, "size": 90, "fill": colour("accent")},
        "encoding": {
            "x": x,
            "y": y,
            "tooltip": told,
            "fillOpacity": {"field": "shade", "type": "quantitative", "scale": None, "legend": None},
            "shape": {"condition": {"test": "datum.done", "value": "circle"}, "value": "square"},
            "stroke": {"condition": {"test": "datum.best", "value": colour("bad")}, "value": colour("faint")},
            "strokeWidth": {"condition": {"test": "datum.best", "value": 3}, "value": 1},
        },
    }
