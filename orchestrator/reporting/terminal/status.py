"""The tables of ``status``: all sweeps of a storage, or one sweep with its trials."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.records import Outcome, Role
from orchestrator.reporting.terminal.live import OUTCOME_STYLE
from orchestrator.reporting.text.numbers import ago, cut, duration, number, percent, share, with_error
from orchestrator.results.statuses import SweepStatus, TrialStatus

ROWS = 100
NARROWEST_REASON = 24
STATUS_STYLE = {"running": "cyan", "completed": "green", "interrupted": "yellow", "unreadable": "red"}


def print_sweeps(sweeps: Sequence[SweepStatus], place: str, console: Console, now: float) -> None:
    """Print the sweeps of a storage or store, one a line; ``now`` is the Unix time that ages are counted to."""
    if not sweeps:
        console.print(Text(f"No sweep has been run in {place}."))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("sweep", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("trials", overflow="fold")
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("best so far", overflow="fold")
    table.add_column("began", justify="right", no_wrap=True)
    table.add_column("last sign", justify="right", no_wrap=True)
    for sweep in sweeps:
        table.add_row(
            Text(sweep.name),
            _status(sweep.status),
            Text(sweep.problem) if sweep.problem else _counts(sweep),
            share(sweep.samples_trained, sweep.samples_exhaustive),
            _best(sweep),
            ago(sweep.began, now),
            ago(sweep.updated, now),
        )
    console.print(table)


def print_sweep(sweep: SweepStatus, console: Console, now: float, everything: bool = False) -> None:
    """Print one sweep with its trials, best first; of more than `ROWS` only the first, unless ``everything`` is wanted."""
    head = Text.assemble((sweep.name, "bold"), "  ", _status(sweep.status))
    if sweep.driver:
        head.append(f"  by {sweep.driver}", style="dim")
    console.print(head)
    times = f"began {ago(sweep.began, now)}, last sign {ago(sweep.updated, now)}, {duration(sweep.elapsed_seconds)} run"
    console.print(Text.assemble("trials  ", _counts(sweep), f"; samples  {_samples(sweep)} of exhaustive; {times}"))
    if sweep.milestones_waiting:
        console.print(f"waiting for detached scores  {sweep.milestones_waiting} checkpoints")
    if sweep.best is not None:
        console.print(Text.assemble(("best  ", "bold green"), _best(sweep)))
    shown = sweep.trials if everything else sweep.trials[:ROWS]
    console.print(_fitting(sweep, shown, console))
    if len(shown) < len(sweep.trials):
        console.print(f"and {len(sweep.trials) - len(shown)} more; --all shows them", style="dim")
    if sweep.status == "interrupted":
        console.print("Interrupted; the command that ran it goes on from here.", style="yellow")


_COLUMNS = ("samples", "loss", "grad norm", "objective", "expected", "P(best)")
_LEFT_OUT_FIRST: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"grad norm"}),
    frozenset({"grad norm", "loss"}),
    frozenset({"grad norm", "loss", "expected", "P(best)"}),
    frozenset({"grad norm", "loss", "expected", "P(best)", "role"}),
)


def _fitting(sweep: SweepStatus, trials: Sequence[TrialStatus], console: Console) -> Table:
    """Return the table of trials with the columns that the console has room for, and reasons in what is left."""
    idle = frozenset() if any(not trial.outcome.is_final for trial in trials) else frozenset({"expected", "P(best)"})
    for left_out in _LEFT_OUT_FIRST:
        table = _trials(sweep, trials, left_out | idle, 0)
        room = console.width - console.measure(table).maximum - 2
        if room >= 0:
            break
    return _trials(sweep, trials, left_out | idle, room) if room >= NARROWEST_REASON else table


def _trials(sweep: SweepStatus, trials: Sequence[TrialStatus], left_out: frozenset[str], reason_width: int) -> Table:
    """Return the trials; reasons are cut to a width, and left out at 0, so that they never squeeze the figures."""
    names = [name for name in _COLUMNS if name not in left_out]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", no_wrap=True)
    table.add_column("id", no_wrap=True, style="dim")
    if "role" not in left_out:
        table.add_column("role", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for name in names:
        table.add_column(Text(sweep.objective if name == "objective" else name), justify="right", no_wrap=True)
    if reason_width:
        table.add_column("why", no_wrap=True)
    for trial in trials:
        cells = _cells(trial)
        reason = [Text(cut(trial.reason, reason_width))] if reason_width else []
        standing = _standing(trial, "role" not in left_out)
        table.add_row(Text(trial.name), trial.trial_id, *standing, *(cells[name] for name in names), *reason)
    return table


def _standing(trial: TrialStatus, in_two: bool) -> list[Text]:
    """Return role and outcome, each in a column of its own or, where there is no room, in one."""
    style = OUTCOME_STYLE[trial.outcome]
    if in_two:
        return [Text(trial.role.value), Text(trial.outcome.value, style=style)]
    beside = "" if trial.role is Role.SEARCH else f" ({trial.role.value})"
    return [Text(f"{trial.outcome.value}{beside}", style=style)]


def _cells(trial: TrialStatus) -> dict[str, str]:
    # What a trial was forecast to end at is of no use once it has ended.
    live = not trial.outcome.is_final
    return {
        "samples": f"{trial.samples_seen:,}/{trial.samples:,}",
        "loss": number(trial.loss),
        "grad norm": number(trial.grad_norm),
        "objective": _with_error(trial),
        "expected": number(trial.expected if live else None),
        "P(best)": percent(trial.probability_best if live else None),
    }


def _counts(sweep: SweepStatus) -> Text:
    text = Text()
    for name, count in (sweep.counts or {}).items():
        if count:
            text.append(f"{count} {name}", style=OUTCOME_STYLE[Outcome(name)])
            text.append(", ")
    text.append(f"of {sweep.trials_planned}")
    return text


def _samples(sweep: SweepStatus) -> str:
    return f"{sweep.samples_trained:,} ({share(sweep.samples_trained, sweep.samples_exhaustive)})"


def _best(sweep: SweepStatus) -> Text:
    if sweep.best is None:
        return Text("-")
    return Text(f"{sweep.objective} {_with_error(sweep.best)}  {sweep.best.name}")


def _with_error(trial: TrialStatus) -> str:
    return with_error(trial.objective, trial.standard_error)


def _status(status: str) -> Text:
    return Text(status, style=STATUS_STYLE.get(status, ""))
