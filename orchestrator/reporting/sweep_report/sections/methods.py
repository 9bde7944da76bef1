"""Each method at its own best learning rate: a table, and the objective over the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, counted, standing
from orchestrator.reporting.sweep_report.layout.blocks import Block, Chart, Column, Section, Spec, Table, note
from orchestrator.reporting.sweep_report.layout.charts import (
    PICKED,
    colour,
    colour_scale,
    faded,
    group_of,
    log_ticks,
    method_colours,
    number_axis,
    tooltip,
)
from orchestrator.reporting.sweep_report.sections.curves import method_legend
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import TrialHistory
from orchestrator.spec.trial.identity import short_number

MOST_METHODS = 30


def methods_section(facts: SweepFacts) -> Section | None:
    """Return the methods, each by its best trial; None while nothing was judged."""
    ranked = [name for name in facts.methods if facts.of_method(name)]
    if not ranked:
        return None
    rows = [_row(facts, name, facts.of_method(name)) for name in ranked[:MOST_METHODS]]
    columns = [
        Column("method"),
        Column("best learning rate", numeric=True),
        Column("effective batch", numeric=True),
        Column(facts.label, numeric=True),
        Column("outcome"),
        Column("trials", numeric=True),
        Column("completed", numeric=True),
        Column("learning rates tried", numeric=True),
    ]
    blocks: list[Block] = [note(_what(facts, ranked)), Table(columns, rows, _recommended(facts, ranked))]
    chart = _chart(facts)
    if chart is not None:
        blocks += [method_legend(method_colours(facts.methods), facts.judged), chart]
    return Section("methods", "Each method at its own best learning rate", blocks)


def _recommended(facts: SweepFacts, ranked: Sequence[str]) -> frozenset[int]:
    best = facts.best
    return frozenset(
        place for place, name in enumerate(ranked) if best is not None and best.result.config.method == name
    )


def _what(facts: SweepFacts, ranked: Sequence[str]) -> str:
    text = "Methods are compared at their own best learning rates; at a shared one a comparison would mislead."
    if any(facts.of_method(name)[0].result.outcome is not Outcome.COMPLETED for name in ranked):
        text += " Where even the best trial of a method was stopped, its value is that of the milestone where it was stopped."
    if len(ranked) > MOST_METHODS:
        text += f" The {MOST_METHODS} best of {counted(len(ranked), 'method')} are listed."
    return text


def _row(facts: SweepFacts, method: str, trials: Sequence[TrialHistory]) -> list[str]:
    best = trials[0].result
    error = facts.error(best.standard_errors)
    every = [trial for trial in facts.trials if trial.result.config.method == method]
    rates = sorted({trial.result.config.learning_rate for trial in every})
    span = short_number(rates[0]) if len(rates) == 1 else f"{short_number(rates[0])} to {short_number(rates[-1])}"
    return [
        method,
        short_number(best.config.learning_rate),
        f"{best.config.effective_batch_size:,}",
        with_error(best.objective, error),
        standing(best),
        f"{len(every):,}",
        f"{sum(trial.result.outcome is Outcome.COMPLETED for trial in every):,}",
        f"{len(rates)} ({span})",
    ]


def with_error(value: float | None, error: float | None) -> str:
    """Return a value with its standard error, where there is one."""
    return number(value) if error is None or value is None else f"{number(value)} ± {number(error, 2)}"


def _chart(facts: SweepFacts) -> Chart | None:
    colours = method_colours(facts.methods)
    rows = [row for name in facts.methods for row in _points(facts, name, colours)]
    if len({row["rate_"] for row in rows}) < 2:
        return None
    alt = f"Best {facts.label} at each learning rate, a line per method."
    return Chart("methods-learning-rate", _spec(facts, rows, colours), f"Best {facts.label} at each learning rate", alt)


class _BestPoint(TypedDict):
    """The best trial of a method at a learning rate."""

    group: str
    method: str
    trial: str
    rate_: float
    y_: float | None
    standing: str
    done: bool


def _points(facts: SweepFacts, method: str, colours: Mapping[str, str]) -> list[_BestPoint]:
    """Return the best trial at each learning rate (rounded to one digit where there are more than twelve)."""
    best: dict[str, TrialHistory] = {}
    trials = facts.of_method(method)
    digits = 3 if len({trial.result.config.learning_rate for trial in trials}) <= 12 else 1
    for trial in trials:
        best.setdefault(f"{trial.result.config.learning_rate:.{digits - 1}e}", trial)
    return [
        {
            "group": group_of(method, colours),
            "method": method,
            "trial": trial.result.name,
            "rate_": trial.result.config.learning_rate,
            "y_": trial.result.objective,
            "standing": standing(trial.result),
            "done": trial.result.outcome is Outcome.COMPLETED,
        }
        for trial in best.values()
    ]


def _spec(facts: SweepFacts, rows: Sequence[_BestPoint], colours: Mapping[str, str]) -> Spec:
    rates = sorted({row["rate_"] for row in rows})
    ticks = rates if len(rates) <= 12 else log_ticks(rates[0], rates[-1])
    x = {
        "field": "rate_",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"title": "learning rate", "format": "~e", "labelOverlap": "greedy", "values": ticks},
    }
    y = {"field": "y_", **number_axis("", [row["y_"] for row in rows if row["y_"] is not None])}
    shade = colour_scale(colours)
    base = {"x": x, "y": y, "color": shade}
    told = tooltip(trial="trial", y_="value", standing="outcome")
    return {
        "height": 240,
        "params": [PICKED],
        "data": {"values": list(rows)},
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.4},
                "encoding": {**base, "detail": {"field": "method"}, "opacity": faded(0.55)},
            },
            {
                "mark": {"type": "point", "size": 85, "strokeWidth": 2, "filled": True},
                "encoding": {
                    "x": x,
                    "y": y,
                    "tooltip": told,
                    "opacity": faded(1),
                    "stroke": {**shade, "legend": None},
                    "fill": {
                        "condition": {"test": "!datum.done", "value": colour("card")},
                        **shade,
                        "legend": None,
                    },
                },
            },
        ],
    }
