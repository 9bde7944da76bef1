"""What a replay ends with: one row per rule, every figure with its interval; and its progress while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.terminal.live import PLAIN_EVERY_SECONDS
from orchestrator.reporting.text.numbers import duration, number
from orchestrator.simulation.forecast.intervals import Estimate
from orchestrator.simulation.replay import Progress, ReplayReport

Intervals = Literal["beside", "below", "none"]

_TIME_UNITS = ((3600.0, "h"), (60.0, "min"))

_WIDE, _MEDIUM = 165, 125
"""Columns of the terminal from which on an interval stands beside its value, or below it; else it is left out."""


def print_replay(report: ReplayReport, console: Console) -> None:
    """Print a replay's table, what was replayed, and its notes."""
    intervals: Intervals = "beside" if console.width >= _WIDE else "below" if console.width >= _MEDIUM else "none"
    console.print(replay_table(report, intervals))
    hidden = ["Intervals are left out: use a wider window, --html or --json."] if intervals == "none" else []
    for line in (*replay_notes(report), *hidden):
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def replay_table(report: ReplayReport, intervals: Intervals = "beside") -> Table:
    """Return one row per rule; rules of one group stand together, and ``intervals`` where it says."""
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.title = Text(f"Replay: {report.objective.label} ({report.objective.mode})", style="bold")
    table.add_column("rule", no_wrap=True)
    columns = replay_columns(report)
    for column in columns:
        table.add_column(column, justify="right")
    last = None
    for result, row in zip(report.results, report.summary(), strict=True):
        if last not in (None, result.rule.group):
            table.add_section()
        last = result.rule.group
        cells = (_cell(row[key], form, intervals) for key, form in columns.values())
        table.add_row(Text(result.rule.name, style="bold" if last == "ours" else ""), *cells)
    return table


def replay_columns(report: ReplayReport) -> Mapping[str, tuple[str, Callable[[float], str]]]:
    """Return heading -> (name in `ReplayReport.summary`, how a value is written)."""
    figure = report.regret_figure
    longest = max((float(result.of("makespan_seconds").mean()) for result in report.results), default=0.0)
    seconds, unit = next(((size, name) for size, name in _TIME_UNITS if longest >= 2 * size), (1.0, "s"))
    return {
        "samples": ("samples_share_mean", per_cent),
        f"makespan, {unit}": ("makespan_seconds_mean", lambda value: number(value / seconds, 3)),
        "regret median": (f"{figure}_median", _short),
        "regret p95": (f"{figure}_p95", _short),
        "rank": ("rank_mean", _short),
        "best kept": ("top_1_kept_mean", per_cent),
        "best tenth kept": ("top_decile_kept_mean", per_cent),
        "false stops": ("false_stop_rate_mean", per_cent),
    }


def replay_notes(report: ReplayReport) -> list[str]:
    """Return what must be known to read the table."""
    clock, trials = report.clock, sum(sweep.trials for sweep in report.sweeps)
    return [
        f"{_many(len(report.sweeps), 'sweep')}, {_many(trials, 'trial')}, {_many(report.draws, 'draw')}, seed {report.seed}; "
        f"{_many(clock.workers, 'worker')}, "
        f"{clock.startup_seconds:g} s per start, {clock.evaluation_seconds:g} s per evaluation. "
        "Brackets: 95 % intervals over sweeps and draws.",
        f"samples: share of training every trial to its end. regret: in units of {report.regret_unit}. false stops: share "
        "of the stopped trials that belong to the best tenth.",
        *(f"note: {note}" for note in report.notes),
    ]


def per_cent(value: float) -> str:
    """Return a share in per cent, with a digit behind the point below ten."""
    return f"{100 * value:.1f} %" if abs(value) < 0.0995 and value else f"{100 * value:.0f} %"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _short(value: float) -> str:
    return number(value, 3)


def _cell(estimate: Estimate, form: Callable[[float], str], intervals: Intervals) -> Text:
    if math.isnan(estimate.value):
        return Text("-")
    value, low, high = (form(number) for number in (estimate.value, estimate.low, estimate.high))
    cell = Text(value, no_wrap=True)
    if low != high and intervals != "none":
        bounds = f"[{low.removesuffix(' %')}, {high.removesuffix(' %')}]"
        cell.append(f" {bounds}" if intervals == "beside" else f"\n{bounds}", style="dim")
    return cell


class ReplayProgress:
    """Shows how far a replay is: a bar on a terminal, plain lines elsewhere; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console, self._began, self._last_plain = console, time.monotonic(), time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console, transient=True) if console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("replay", total=None)

    def __enter__(self) -> ReplayProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Take a piece that is done."""
        what = f"{progress.sweep}: {progress.rule}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=progress.done, total=progress.total, description=what)
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY_SECONDS:
            self._last_plain = time.monotonic()
            spent = self._last_plain - self._began
            left = spent / progress.done * (progress.total - progress.done)
            line = f"[{duration(spent)}] {progress.done} of {progress.total} ({what}), {duration(left)} left"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
