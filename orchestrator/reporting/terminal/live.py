"""The live table of a running sweep: rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.records import Outcome
from orchestrator.reporting.text.numbers import duration, number, percent, share
from orchestrator.results.records import SweepView, TrialView

OUTCOME_STYLE = {
    Outcome.RUNNING: "cyan",
    Outcome.PAUSED: "yellow",
    Outcome.COMPLETED: "green",
    Outcome.STOPPED: "magenta",
    Outcome.DIVERGED: "red",
    Outcome.FAILED: "bold red",
    Outcome.PENDING: "dim",
}
PLAIN_EVERY_SECONDS = 10.0
_ORDER = tuple(OUTCOME_STYLE)


class LiveTable:
    """Shows snapshots of a sweep; a context manager that owns the terminal while it is open."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last_plain = 0.0

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, view: SweepView) -> None:
        """Draw a snapshot (on a terminal), or print a line every ten seconds (elsewhere)."""
        if self._live is not None:
            self._live.update(render(view), refresh=True)
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY_SECONDS:
            self._last_plain = time.monotonic()
            self._console.print(plain_line(view), markup=False, highlight=False, soft_wrap=True)


def render(view: SweepView) -> RenderableType:
    """Return the table of a snapshot."""
    head = Text.assemble(
        (view.name, "bold"),
        "  ",
        f"{duration(view.elapsed_seconds)} gone, {remaining(view)} left  ",
        f"samples {view.samples_trained:,} of {view.samples_exhaustive:,} exhaustive ({share(view.samples_trained, view.samples_exhaustive)})",
    )
    states = Text("trials  ")
    for outcome in _ORDER:
        if view.counts.get(outcome.value):
            states.append(f"{outcome.value} {view.counts[outcome.value]}  ", style=OUTCOME_STYLE[outcome])
    states.append(f"of {view.trials_planned}")
    parts: list[RenderableType] = [head, states, _table(view)]
    if view.last_decision:
        parts.append(Text(f"last decision  {view.last_decision}", style="dim", overflow="ellipsis", no_wrap=True))
    if view.tracking_state:
        parts.append(Text(f"tracking  {view.tracking_state}", style="yellow"))
    if view.stopping:
        parts.append(Text("stopping after the running milestones; press Ctrl-C again to stop now", style="bold yellow"))
    return Group(*parts)


def plain_line(view: SweepView) -> str:
    """Return a snapshot as one line of text."""
    counts = ", ".join(f"{view.counts[o.value]} {o.value}" for o in _ORDER if view.counts.get(o.value))
    best = "" if view.best is None else f"; best {view.best.name}: {view.objective} {number(view.best.objective)}"
    return (
        f"[{duration(view.elapsed_seconds)}] {counts} of {view.trials_planned} trials; "
        f"{share(view.samples_trained, view.samples_exhaustive)} of exhaustive samples{best}; {remaining(view)} left"
    )


def remaining(view: SweepView) -> str:
    """Return the time left, or a dash while it is unknown."""
    return "-" if view.remaining_seconds is None else f"~{duration(view.remaining_seconds)}"


def _table(view: SweepView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", overflow="ellipsis", no_wrap=True, min_width=24)
    table.add_column("role", no_wrap=True)
    for title in ("state", "samples", "loss", "grad norm", view.objective, "expected", "P(best)", "tokens/s"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in view.running:
        _add_row(table, row, "")
    if view.best is not None:
        _add_row(table, view.best, "bold")
    return table


def _add_row(table: Table, row: TrialView, style: str) -> None:
    state = Text("best so far" if style else row.outcome.value, style=OUTCOME_STYLE[row.outcome])
    table.add_row(
        row.name,
        row.role.value,
        state,
        f"{row.samples_seen:,}/{row.samples:,}",
        number(row.loss),
        number(row.grad_norm),
        number(row.objective),
        number(row.expected),
        percent(row.probability_best),
        "-" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
        style=style,
    )
