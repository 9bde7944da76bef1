"""What a sweep ends with: the winner against base and runner-up, what was stopped and why, what it cost."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.records import Role
from orchestrator.reporting.terminal.live import OUTCOME_STYLE
from orchestrator.reporting.text.numbers import duration, number, share, with_error
from orchestrator.reporting.text.verdicts import certainty_lines
from orchestrator.results.records import SweepResult, TrialResult


def print_summary(result: SweepResult, console: Console) -> None:
    """Print the end of a sweep."""
    console.print(trials_table(result))
    console.print()
    if result.winner is None:
        console.print(Text("No trial was trained to its end, so there is no winner.", style="bold yellow"))
    else:
        console.print(Text.assemble(("Winner  ", "bold green"), (result.winner.name, "bold")))
        console.print(scores_table(result))
        if result.runner_up is not None:  # a line of its own: a caption would be folded to the width of the table
            console.print(f"runner-up: {result.runner_up.name}", highlight=False, markup=False, soft_wrap=True)
    for line in (*certainty_lines(result), *cost_lines(result)):
        console.print(line, highlight=False, soft_wrap=True)


def trials_table(result: SweepResult) -> Table:
    """Return all trials, best first, each with what became of it and why."""
    table = Table(box=None, pad_edge=False, header_style="dim", title=f"Sweep {result.name}", title_justify="left")
    table.add_column("trial", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column(result.objective, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=1)
    for trial in result.trials:
        table.add_row(
            trial.name,
            Text(outcome_text(trial), style=OUTCOME_STYLE[trial.outcome]),
            f"{trial.samples_seen:,}",
            number(trial.objective),
            Text(trial.reason),
        )
    return table


def outcome_text(trial: TrialResult) -> str:
    """Return how a trial ended, and what it was trained for where that is not the search."""
    return trial.outcome.value if trial.role is Role.SEARCH else f"{trial.outcome.value} ({trial.role.value})"


def scores_table(result: SweepResult) -> Table:
    """Return every score of winner, runner-up and base model, with standard errors where they are known."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("score", no_wrap=True)
    columns: list[tuple[str, Mapping[str, float], Mapping[str, float]]] = []
    for title, trial in (("winner", result.winner), ("runner-up", result.runner_up)):
        if trial is not None:
            columns.append((title, trial.scores, trial.standard_errors))
    if result.base_scores:
        columns.append(("base model", result.base_scores, {}))
    for title, _, _ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for metric in result.winner.scores if result.winner else ():
        table.add_row(metric, *(with_error(scores.get(metric), errors.get(metric)) for _, scores, errors in columns))
    return table


def cost_lines(result: SweepResult) -> list[str]:
    """Return the lines on cost, savings and where to look next."""
    counts = ", ".join(f"{count} {name}" for name, count in result.counts.items() if count)
    saved = 1 - result.samples_trained / result.samples_exhaustive if result.samples_exhaustive else 0.0
    lines = [
        f"Trials  {counts}{_beside(result)}",
        f"Samples trained  {result.samples_trained:,} of {result.samples_exhaustive:,} of the exhaustive sweep "
        f"({share(result.samples_trained, result.samples_exhaustive)}; {saved:.0%} saved)",
        f"Time  {duration(result.wall_seconds)} wall, {duration(result.training_seconds)} training, "
        f"{duration(result.evaluation_seconds)} evaluating on {result.slots} slots; utilisation {result.utilisation:.2f}",
        evaluation_cost(result),
        f"Storage  {result.storage}",
    ]
    if result.report:
        lines.append(f"Report  {result.report}")
    if result.tracking.pending_bytes:
        waiting = result.tracking.pending_bytes / 1024
        lines.append(f"Tracking  {waiting:.0f} KiB wait for the server; run the same command to deliver them")
    if result.ui_command:
        lines.append(f"MLflow UI  {result.ui_command}")
        lines.append(f"Sweep page  {result.ui_address}")
    return lines


def evaluation_cost(result: SweepResult) -> str:
    """Return what scores cost, as a share of the slots' time."""
    beside = f", and {duration(result.beside_seconds)} beside it" if result.beside_seconds >= 0.5 else ""
    left_out = f"; detached sets left {result.unscored} milestones out" if result.unscored else ""
    return f"Scores  evaluation took {result.evaluation_share:.0%} of the sweep's slot time{beside}{left_out}"


_BESIDE = {
    Role.REPEAT: "repeats",
    Role.RESUMED: "stopped and then resumed",
    Role.CLONE: "clones",
    Role.EXTENDED: "trained on to a larger budget",
}


def _beside(result: SweepResult) -> str:
    """Return how many of the trials are no, or no longer, trials of the search."""
    roles = [trial.role for trial in result.trials]
    parts = [f"{roles.count(Role.AUDIT)} stopped and then audited"] if Role.AUDIT in roles else []
    parts += [f"{roles.count(role)} {text}" for role, text in _BESIDE.items() if role in roles]
    return f" (among them {', '.join(parts)})" if parts else ""


def decision_note(result: SweepResult, story: str = "") -> str:
    """Return the sweep as Markdown: what won, what it cost, what was stopped and why (for the MLflow parent run).

    Args:
        result: How the sweep ended.
        story: Markdown that opens it: the report's first sentences.
    """
    # The UI shows the first few lines and folds the rest away.
    lines = [story, ""] if story else [f"# {result.name}", ""]
    if result.winner is not None:
        lines += [f"**Winner: `{result.winner.name}`** by {result.objective} ({result.mode})", ""]
        lines += ["| score | winner | runner-up | base model |", "|---|---|---|---|"]
        runner = result.runner_up.scores if result.runner_up else {}
        lines += [
            f"| {metric} | {number(value)} | {number(runner.get(metric))} | {number(result.base_scores.get(metric))} |"
            for metric, value in result.winner.scores.items()
        ]
        lines.append("")
    lines += [f"- {line.replace('  ', ': ', 1)}" for line in (*certainty_lines(result), *cost_lines(result)[:4])]
    lines += ["", "| trial | outcome | samples | " + result.objective + " | why |", "|---|---|---|---|---|"]
    for trial in result.trials:
        reason = trial.reason.replace("|", "/")
        lines.append(
            f"| {trial.name} | {outcome_text(trial)} | {trial.samples_seen:,} | {number(trial.objective)} | {reason} |"
        )
    return "\n".join(lines) + "\n"
