"""Every trial that did not complete, with the sentence that says why."""

from __future__ import annotations

from orchestrator.records import Outcome
from orchestrator.reporting.sweep_report.facts.facts import OPEN, SweepFacts, counted
from orchestrator.reporting.sweep_report.layout.blocks import Block, Column, Details, Section, Table, note
from orchestrator.reporting.text.numbers import number, with_error
from orchestrator.results.records import TrialResult

SHOWN_OPEN = 60
AUDITED = "Stopped by a rule, then trained on by the audit"
_GROUPS = {Outcome.STOPPED: "Stopped by a rule", Outcome.DIVERGED: "Diverged", Outcome.FAILED: "Failed"}


def stopped_section(facts: SweepFacts) -> Section | None:
    """Return the trials that were stopped, diverged or failed; None if there are none."""
    found: dict[str, list[TrialResult]] = {title: [] for title in (*_GROUPS.values(), AUDITED)}
    for trial in facts.trials:
        title = AUDITED if trial.result.audited else _GROUPS.get(trial.result.outcome)
        if title is not None:
            found[title].append(trial.result)
    total = sum(map(len, found.values()))
    if not total:
        return None
    text = "Each with the sentence that was written when it was decided; latest stops first."
    if found[AUDITED]:
        text += " Of audited trials the samples are those at the stop, the score is that of their end."
    blocks: list[Block] = [note(text)]
    for title, trials in found.items():
        if trials:
            blocks.append(
                Details(
                    f"{title}: {counted(len(trials), 'trial')}", [_table(facts, trials)], opened=total <= SHOWN_OPEN
                )
            )
    return Section("stopped", "What was stopped, and why", blocks)


def completed_section(facts: SweepFacts) -> Section | None:
    """Return the trials that completed, and those that are still open; None if there are neither."""
    done = [trial.result for trial in facts.trials if trial.result.outcome is Outcome.COMPLETED]
    waiting = [trial.result for trial in facts.trials if trial.result.outcome in OPEN]
    blocks: list[Block] = []
    if done:
        blocks.append(
            Details(f"Completed: {counted(len(done), 'trial')}", [_completed(facts, done)], len(done) <= SHOWN_OPEN)
        )
    if waiting:
        blocks.append(
            Details(
                f"Not ended: {counted(len(waiting), 'trial')}", [_waiting(facts, waiting)], len(waiting) <= SHOWN_OPEN
            )
        )
    return Section("completed", "What was trained to its end", blocks) if blocks else None


def _table(facts: SweepFacts, trials: list[TrialResult]) -> Table:
    columns = [Column("trial"), Column("samples", True), Column(facts.label, True), Column("why", wide=True)]
    rows = [
        [trial.name, f"{_ended_at(trial):,}", number(trial.objective), trial.reason or "no reason on record"]
        for trial in trials
    ]
    return Table(columns, rows)


def _ended_at(trial: TrialResult) -> int:
    return trial.samples_seen if trial.stopped_at is None else trial.stopped_at


def _completed(facts: SweepFacts, trials: list[TrialResult]) -> Table:
    bounded = bool(facts.objective.constraints)
    columns = [
        Column("trial"),
        Column(facts.label, True),
        Column("training time", True),
        *([Column("breaks", wide=True)] if bounded else []),
    ]
    rows = []
    for trial in trials:
        error = facts.error(trial.standard_errors)
        value = with_error(trial.objective, error)
        rows.append(
            [
                trial.name,
                value,
                f"{trial.training_seconds:,.1f} s",
                *([", ".join(facts.broken(trial))] if bounded else []),
            ]
        )
    return Table(columns, rows)


def _waiting(facts: SweepFacts, trials: list[TrialResult]) -> Table:
    columns = [Column("trial"), Column("state"), Column("samples", True), Column(facts.label, True)]
    rows = [[t.name, t.outcome.value, f"{t.samples_seen:,}", number(t.objective)] for t in trials]
    return Table(columns, rows)
