"""How sure the winner is: against noise by repeats, and what the audit of stopped trials says of the stopping rules."""

from __future__ import annotations

from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.reporting.sweep_report.layout.blocks import (
    Block,
    Column,
    Paragraph,
    Section,
    Sentence,
    Strong,
    Table,
    note,
)
from orchestrator.reporting.sweep_report.sections.comparison import lead
from orchestrator.reporting.sweep_report.sections.methods import with_error
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import AuditResult, MeasuredShare, RecipeResult, WinnerVerdict

CLEAR_ERRORS, SOME_ERRORS = 2.0, 1.0


def certainty_section(facts: SweepFacts) -> Section | None:
    """Return what repeats and audit found; None where the sweep ran neither."""
    verdict, audit = facts.result.verdict, facts.result.audit
    blocks: list[Block] = []
    if verdict is not None:
        blocks += _verdict(facts, verdict)
    if audit is not None:
        blocks += _audit(facts, audit)
    return Section("certainty", "How sure this is", blocks) if blocks else None


def recommended(facts: SweepFacts) -> RecipeResult | None:
    """Return the recommended recipe over its new seeds; None where it was not trained with any."""
    verdict = facts.result.verdict
    first = verdict.recipes[0] if verdict is not None and verdict.recipes else None
    return first if first is not None and first.mean is not None and first.seeds else None


def how_sure(facts: SweepFacts) -> Sentence:
    """Return the sentence of the headline on how sure the winner is."""
    winner, runner_up, verdict = facts.winner, facts.result.runner_up, facts.result.verdict
    if verdict is not None and verdict.verdict != "not tested":
        return (Strong("How sure: "), verdict.sentence)
    if winner is None or runner_up is None:
        return (Strong("How sure: "), "only one trial completed, so there is nothing to hold it against.")
    ahead = lead(facts, winner, runner_up)
    if ahead is None or ahead.errors is None:
        return (
            Strong("How sure: "),
            f"runner-up is {runner_up.name}; the metric has no standard error, so the lead cannot be weighed.",
        )
    where = f"it leads the runner-up ({runner_up.name}) by {number(ahead.by, 2)} ± {number(ahead.error, 2)}, that is {ahead.errors:.1f} standard errors"
    return (
        Strong("How sure: "),
        f"{where}: {_weighed(ahead.errors)}. Candidates were not trained again with new seeds, so the noise between repeats is not in this.",
    )


def _weighed(errors: float) -> str:
    if errors >= CLEAR_ERRORS:
        return "clear on these held-out rows"
    if errors >= SOME_ERRORS:
        return "likely, not certain"
    return "within the noise of the held-out rows, so take either"


def _verdict(facts: SweepFacts, verdict: WinnerVerdict) -> list[Block]:
    blocks: list[Block] = [Paragraph((Strong("Winner against noise: "), verdict.sentence))]
    if not verdict.recipes:
        return blocks
    columns = [
        Column("candidate"),
        Column("place"),
        Column("new seeds", True),
        Column(f"mean {facts.label}", True),
        Column("in the search", True),
        Column("training time", True),
        Column("why", wide=True),
    ]
    rows = [
        [
            each.name,
            each.place,
            f"{each.seeds}",
            with_error(each.mean, each.standard_error),
            number(each.search_value),
            f"{each.training_seconds:,.1f} s",
            each.reason,
        ]
        for each in verdict.recipes
    ]
    told = f"{verdict.repeats} repeats in {verdict.rounds} rounds, {verdict.samples:,} samples, at {_rate(verdict.confidence)} confidence. Means are over new seeds only: the trials that made a recipe a candidate were chosen for being good."
    return [*blocks, Table(columns, rows, frozenset({0})), note(told)]


def _audit(facts: SweepFacts, audit: AuditResult) -> list[Block]:
    blocks: list[Block] = [Paragraph((Strong("Audit of the stopping rules: "), audit.sentence))]
    rows = [
        ["ended better than the best trial", _share(audit.beat_best)],
        [f"ended in the best tenth ({audit.places} places)", _share(audit.best_tenth)],
        [f"mean regret by stopping, {facts.label}", _regret(audit)],
        ["tolerated probability of a wrong stop", "-" if audit.tolerated is None else _rate(audit.tolerated)],
    ]
    if audit.ended:
        blocks.append(Table([Column("of the audited trials"), Column("measured", True)], rows))
    blocks.append(
        note(
            f"{audit.drawn} of {audit.stopped} stopped trials drawn at random, {audit.ended} ended, {audit.failed} failed; {audit.samples:,} samples."
        )
    )
    return blocks


def _share(share: MeasuredShare | None) -> str:
    if share is None:
        return "-"
    return (
        f"{share.count} of {share.total} ({_rate(share.rate)}; 95 % interval {_rate(share.low)} to {_rate(share.high)})"
    )


def _regret(audit: AuditResult) -> str:
    if audit.regret is None:
        return "-"
    if audit.regret_low is None or audit.regret_high is None:
        return number(audit.regret)
    return f"{number(audit.regret)} (95 % interval {number(audit.regret_low)} to {number(audit.regret_high)})"


def _rate(share: float) -> str:
    return f"{100 * share:.3g} %"
