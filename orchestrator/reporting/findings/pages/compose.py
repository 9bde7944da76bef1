"""The findings report: all verdicts at a glance, then a page per finding."""

from __future__ import annotations

from orchestrator.reporting.findings.analysis.outcome import FindingOutcome
from orchestrator.reporting.findings.pages.facts import FindingsFacts
from orchestrator.reporting.findings.pages.pages import finding_section
from orchestrator.reporting.findings.pages.wording import effect_text, interval_text, rate_text
from orchestrator.reporting.sweep_report.facts.facts import counted, moment
from orchestrator.reporting.sweep_report.layout.blocks import (
    Block,
    Bullets,
    Column,
    Figure,
    Figures,
    Mono,
    Paragraph,
    Report,
    Section,
    Sentence,
    Strong,
    Table,
    note,
    warning,
)
from orchestrator.reporting.text.numbers import duration, percent


def compose_findings(facts: FindingsFacts) -> Report:
    """Return the report of a reproduction, finished or not."""
    sections = [_verdicts(facts), *(finding_section(outcome, facts) for outcome in facts.outcomes), _basis(facts)]
    counts = facts.counts()
    return Report(
        title="The Secret Recipe, tested again",
        subtitle=f"Findings of arXiv 2412.13337 at scale {facts.scale}. Written {moment(facts.written)}.",
        headline=_headline(facts),
        figures=Figures([Figure(verdict, str(count)) for verdict, count in counts.items()]),
        sections=sections,
        written=facts.written,
    )


def _headline(facts: FindingsFacts) -> list[Sentence]:
    counts = facts.counts()
    tested = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    lines: list[Sentence] = [
        (
            Strong(f"Of {counted(len(facts.outcomes), 'finding')}: {', '.join(tested)}"),
            f", for {' and '.join(facts.models)} on {facts.data}.",
        ),
    ]
    if not facts.complete:
        done, planned = (sum(getattr(sweep, name) for sweep in facts.sweeps) for name in ("trials", "planned"))
        lines.append(
            (
                f"The suite is not finished: {done} of {planned} trials are trained to their end. ",
                "Findings whose sweeps are complete are judged below; the same command goes on with the others.",
            )
        )
    return lines


def _verdicts(facts: FindingsFacts) -> Section:
    columns = [
        Column("finding"),
        Column("the paper says", wide=True),
        Column("verdict", strong=True),
        Column("primary effects", wide=True),
        Column("seeds", True),
    ]
    rows = [_row(outcome) for outcome in facts.outcomes]
    blocks: list[Block] = [Table(columns, rows), *(warning(text) for text in facts.notes)]
    blocks.append(
        note(
            "A verdict holds for this base, data and target and no further. Undecided means that the trials allow both; "
            "each finding below says what number would decide. A positive effect speaks for the paper; its 95 % interval stands "
            "in brackets."
        )
    )
    return Section("verdicts", "Verdicts", blocks)


def _row(outcome: FindingOutcome) -> list[str]:
    finding = outcome.finding
    told = "; ".join(
        f"{each.comparison.says}: {effect_text(each)} ({interval_text(each)})"
        for each in outcome.primary
        if each.effect.known
    )
    name = f"{finding.id} {finding.title}"
    return [name, finding.statement, outcome.verdict or "not tested", told or outcome.why, str(outcome.seeds or "-")]


def _basis(facts: FindingsFacts) -> Section:
    columns = [
        Column("sweep"),
        Column("trials", True),
        Column("planned", True),
        Column("state"),
        Column("trial time", True),
        Column("MLflow run"),
    ]
    rows = [
        [
            sweep.name,
            str(sweep.trials),
            str(sweep.planned),
            "complete" if sweep.complete else "open",
            duration(sweep.seconds) if sweep.seconds else "-",
            sweep.run_id or "-",
        ]
        for sweep in facts.sweeps
    ]
    items: list[Sentence] = [
        (
            Strong("Baseline learning rate: "),
            f"{rate_text(facts.baseline)}, which stands for the paper's 2e-5; {facts.baseline_from}.",
        ),
        (Strong("Registration: "), f"digest {facts.digest} of the findings and designs in the package."),
        (Strong("To go on, or to do it again: "), Mono(facts.command)),
        (Strong("Scoring: "), f"{percent(facts.evaluation_share)} of the trials' time."),
    ]
    return Section(
        "basis",
        "What it rests on",
        [
            Table(columns, rows),
            Bullets(items),
            Paragraph(
                (
                    "Learning rates and batch sizes in plots and tables are the paper's; the scaling rule turns them into this "
                    "scale's (docs/explanation/scaling-the-paper.md).",
                )
            ),
        ],
    )
