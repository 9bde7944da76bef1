"""A replay as one self-contained page: the trade-off curve, the table, the sweeps. No network, no library."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from orchestrator.errors import StorageError
from orchestrator.reporting.replay.chart import Mark, chart, symbol, symbols
from orchestrator.reporting.replay.table import per_cent, replay_columns, replay_notes
from orchestrator.reporting.text.numbers import number
from orchestrator.simulation.forecast.intervals import Estimate
from orchestrator.simulation.replay import ReplayReport

_TEMPLATE = Path(__file__).with_suffix(".html")
_PANELS = (("p95", "Regret in bad luck (95th percentile)"), ("median", "Regret as a rule (median)"))

Summary = Sequence[Mapping[str, Estimate]]


def write_replay_page(report: ReplayReport, path: Path) -> None:
    """Write the page.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        path.write_text(replay_page(report), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            str(path),
            rule=f"cannot be written: {error.strerror or error}",
            mend="choose a place that exists and has room",
        ) from error


def check_page_place(path: Path) -> None:
    """Say before the long part that the page could not be written.

    Raises:
        StorageError: If the folder does not exist, or the path is a folder itself.
    """
    if path.is_dir() or not path.parent.is_dir():
        rule = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise StorageError("--html", value=str(path), rule=rule, mend="name a file in a folder that exists")


def replay_page(report: ReplayReport) -> str:
    """Return the page as HTML."""
    summary = report.summary()
    in_noise = report.regret_figure == "regret_noise"
    parts = {
        "title": escape(f"Replay of stopping rules: {report.objective.label} ({report.objective.mode})"),
        "lead": escape(
            f"{len(report.results)} rules on {len(report.sweeps)} recorded sweeps of "
            f"{sum(sweep.trials for sweep in report.sweeps)} trials, each in {report.draws} random orders."
        ),
        "goal": "The dashed line is one standard deviation of a repeat with another seed." if in_noise else "",
        "charts": "\n".join(_figure(report, summary, statistic, title) for statistic, title in _PANELS),
        "legend": "\n".join(_legend(_marks(report, summary, "p95"))),
        "table": _table(report, summary),
        "notes": "\n".join(f"<li>{escape(line)}</li>" for line in replay_notes(report)),
        "sweeps": _sweeps(report),
    }
    # In one pass: what is filled in is never looked at again, whatever a rule or sweep is called.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _TEMPLATE.read_text(encoding="utf-8"))


def _figure(report: ReplayReport, summary: Summary, statistic: str, title: str) -> str:
    unit = 1.0 if report.regret_figure == "regret_noise" else None
    drawn = chart(_marks(report, summary, statistic), title, f"regret, {report.regret_unit}", unit)
    return f"<figure><figcaption>{escape(title)}</figcaption>\n{drawn}\n</figure>"


def _marks(report: ReplayReport, summary: Summary, statistic: str) -> list[Mark]:
    marks = []
    for result, row in zip(report.results, summary, strict=True):
        spent, regret = row["samples_share_mean"], row[f"{report.regret_figure}_{statistic}"]
        detail = (
            f"{result.rule.name}: {_spoken(spent, per_cent)} of the samples, regret {_spoken(regret, _short)}, "
            f"best trial kept in {per_cent(row['top_1_kept_mean'].value)}"
        )
        marks.append(Mark(result.rule.name, result.rule.family, result.rule.group, spent, regret, detail))
    return marks


def _legend(marks: Sequence[Mark]) -> list[str]:
    families = {mark.family: mark.group for mark in marks}
    return [
        f'<button type="button" class="g-{escape(group)}" data-family="{escape(family)}" aria-pressed="false">'
        f'<svg viewBox="0 0 14 14" aria-hidden="true">{symbol(shape, 7, 7, 5)}</svg><span>{escape(family)}</span></button>'
        for (family, group), shape in zip(families.items(), symbols(marks), strict=True)
    ]


def _table(report: ReplayReport, summary: Summary) -> str:
    columns = replay_columns(report)
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in ("rule", *columns)
    )
    rows = []
    for result, row in zip(report.results, summary, strict=True):
        name, group = escape(result.rule.name), escape(result.rule.group)
        cells = "".join(_cell(row[key], form) for key, form in columns.values())
        rows.append(f'<tr class="g-{group}"><td data-value="{name}">{name}</td>{cells}</tr>')
    return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def _cell(estimate: Estimate, form: Callable[[float], str]) -> str:
    if math.isnan(estimate.value):
        return '<td data-value="Infinity">-</td>'
    shown = escape(form(estimate.value))
    if estimate.low < estimate.high:
        shown += f"<small>{escape(form(estimate.low))} to {escape(form(estimate.high))}</small>"
    return f'<td data-value="{estimate.value:.9g}">{shown}</td>'


def _sweeps(report: ReplayReport) -> str:
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("sweep", "trials", "milestones", "repeat noise", "spread of finals")
    )
    rows = [
        f"<tr><td>{escape(sweep.name)}</td><td>{sweep.trials}</td><td>{sweep.levels}</td>"
        f"<td>{number(sweep.noise.deviation, 3)} ({sweep.noise.source})</td><td>{number(sweep.noise.spread, 3)}</td></tr>"
        for sweep in report.sweeps
    ]
    return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def _spoken(estimate: Estimate, form: Callable[[float], str]) -> str:
    value = form(estimate.value)
    return f"{value} ({form(estimate.low)} to {form(estimate.high)})" if estimate.low < estimate.high else value


def _short(value: float) -> str:
    return number(value, 3)
