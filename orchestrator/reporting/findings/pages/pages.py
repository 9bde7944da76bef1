"""One page per finding: verdict, the paper's plot and the same one here, the numbers, and what follows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from orchestrator.reporting.findings.analysis.outcome import FindingOutcome, Judged
from orchestrator.reporting.findings.analysis.verdicts import together
from orchestrator.reporting.findings.pages.facts import FindingsFacts
from orchestrator.reporting.findings.pages.figures import own_charts, paper_charts, published, title_of
from orchestrator.reporting.findings.pages.plots import SHADES, colours_of, effects_chart
from orchestrator.reporting.findings.pages.wording import effect_text, interval_text
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.registration import Target
from orchestrator.reporting.sweep_report.layout.blocks import (
    Block,
    Bullets,
    Chart,
    Column,
    Details,
    Gallery,
    Legend,
    Paragraph,
    Section,
    Sentence,
    Strong,
    Table,
    note,
    warning,
)
from orchestrator.reporting.text.numbers import number

COLUMNS = (
    Column("compared", wide=True),
    Column("effect (+ as claimed)", True),
    Column("95 % interval", True),
    Column("n", True),
    Column("matters from", True),
    Column("verdict"),
    Column("n that would decide", True),
)

_READING = (
    'An effect above zero speaks for the paper. The short grey lines in the plot, and "matters from" in the table, are the '
    "smallest effect that matters, fixed beforehand. Bold rows decide the verdict; the others are told beside them."
)
_UNITS = {
    "F2": "Effects are Spearman rank correlations with the final score, from \N{MINUS SIGN}1 to 1, or differences of two. "
}
"""What effects are measured in, where it is not the score."""


def finding_section(outcome: FindingOutcome, facts: FindingsFacts) -> Section:
    """Return the page of a finding."""
    finding = outcome.finding
    title = f"{finding.id} · {finding.title}: {outcome.verdict or 'not tested'}"
    blocks: list[Block] = [
        Paragraph((Strong("The paper says: "), finding.statement)),
        note("Where: ", finding.source, ". Shown there: ", finding.seen_there),
    ]
    if outcome.verdict is None:
        blocks.append(warning(f"Not tested: {outcome.why}."))
    else:
        about = f", {_about(outcome, facts)}, judged by {title_of(outcome.target)}:"
        blocks.append(Paragraph((Strong(f"{outcome.verdict.capitalize()}"), about)))
        blocks.append(Bullets([*_primary_items(outcome), *_elsewhere(outcome), *_against(outcome)]))
    if outcome.judged:
        blocks += _plots(outcome, facts)
        blocks += [note(_UNITS.get(finding.id, ""), _READING), _table(outcome, outcome.target), *_others(outcome)]
    if outcome.verdict is not None:
        advice = finding.recommends[outcome.verdict]
        more = " Where another score matters more to you, go by its table." if _elsewhere(outcome) else ""
        blocks.append(Paragraph((Strong("For your next run: "), f"{advice}{more}")))
    if not outcome.judged and (charts := paper_charts(finding.id)):
        blocks.append(Gallery(charts))
    blocks.append(_registered(outcome))
    return Section(finding.id.lower(), title, blocks)


def _about(outcome: FindingOutcome, facts: FindingsFacts) -> str:
    roles = {designs()[name].base for name in outcome.finding.sweeps}
    models = facts.models if "second" in roles else facts.models[:1]
    return f"for {' and '.join(models)} on {facts.data} at scale {facts.scale}"


def _primary_items(outcome: FindingOutcome) -> list[Sentence]:
    return [
        (
            f"{_upper(each.comparison.says)}: ",
            Strong(effect_text(each)),
            f" ({interval_text(each)}), n = {each.effect.n}: {each.verdict}{_needed(each)}.",
        )
        for each in outcome.primary
    ]


def _elsewhere(outcome: FindingOutcome) -> list[Sentence]:
    """Return where the primary comparisons come out otherwise on other scores; a verdict is one target's."""
    told = []
    for target in dict.fromkeys(each.target for each in outcome.judged if each.target != outcome.target):
        verdicts = [e.verdict for e in outcome.judged if e.target == target and e.comparison.primary and e.effect.known]
        if verdicts and together(verdicts) != outcome.verdict:
            told.append(f"{together(verdicts)} on {title_of(target)}")
    return [(f"On other scores it comes out differently: {'; '.join(told)}.",)] if told else []


def _against(outcome: FindingOutcome) -> list[Sentence]:
    """Return the secondary comparisons that speak against a reproduced finding on the very score it rests on."""
    told = [
        f"{each.comparison.says} ({effect_text(each)})"
        for each in outcome.judged
        if each.target == outcome.target
        and each not in outcome.primary
        and each.effect.known
        and each.verdict == "not reproduced"
        and each.effect.high < 0
    ]
    return [(f"Against it speaks: {'; '.join(told)}.",)] if told and outcome.verdict == "reproduced" else []


def _needed(each: Judged) -> str:
    if each.verdict != "undecided":
        return ""
    return f"; n = {each.needed:,} would decide" if each.needed else "; no feasible n would decide"


def _plots(outcome: FindingOutcome, facts: FindingsFacts) -> list[Block]:
    name = outcome.finding.id
    own, paper = own_charts(name, facts.runs, outcome.target), paper_charts(name)
    beside = [*paper, *own[: bool(paper)]]
    blocks: list[Block] = [note(published()[name]["note"]), *_with_legend(beside)]
    for charts in _of_same_series(own[bool(paper) :]):
        blocks += _with_legend(charts)
    primary = [each for each in outcome.judged if each.target == outcome.target]
    title = f"Effects on {title_of(outcome.target)}"
    shades = {verdict: shade for verdict, shade in SHADES.items() if any(each.verdict == verdict for each in primary)}
    blocks.append(Legend(list(shades.items())))
    blocks.append(effects_chart(f"{name}-effects", title, primary, "Effects with 95 % intervals."))
    return blocks


def _of_same_series(charts: Sequence[Chart]) -> list[list[Chart]]:
    """Return charts that follow each other and share their series together, to stand beside each other."""
    return [list(each) for _, each in itertools.groupby(charts, key=lambda chart: sorted(set(_series(chart))))]


def _series(chart: Chart) -> list[str]:
    return list(dict.fromkeys(str(row["group"]) for row in chart.rows()))


def _with_legend(charts: Sequence[Chart]) -> list[Block]:
    """Return charts beside each other, under the legend that the page shows (pictures carry their own)."""
    if not charts:
        return []
    series = [_series(chart) for chart in charts]
    named = colours_of([name for names in series if len(names) > 1 for name in names])
    return [*([Legend(list(named.items()))] if named else []), Gallery(charts)]


def _table(outcome: FindingOutcome, target: Target) -> Table:
    rows = [each for each in outcome.judged if each.target == target]
    strong = frozenset(place for place, each in enumerate(rows) if each in outcome.primary)
    return Table(COLUMNS, [_row(each) for each in rows], strong)


def _others(outcome: FindingOutcome) -> list[Block]:
    targets = dict.fromkeys(each.target for each in outcome.judged if each.target != outcome.target)
    blocks: list[Block] = []
    for target in targets:
        blocks += [Paragraph((Strong(_upper(title_of(target))),)), _table(outcome, target)]
    return (
        [Details("The same on the other scores (secondary: the verdict does not rest on them)", blocks)]
        if blocks
        else []
    )


def _row(each: Judged) -> list[str]:
    effect = each.effect
    if not math.isfinite(effect.value):
        return [each.comparison.says, "-", "-", str(effect.n), number(each.minimum, 3), "-", "-"]
    needed = "" if each.verdict != "undecided" else f"{each.needed:,}" if each.needed else "not feasible"
    return [
        each.comparison.says,
        effect_text(each),
        interval_text(each),
        str(effect.n),
        number(each.minimum, 3),
        each.verdict,
        needed,
    ]


def _registered(outcome: FindingOutcome) -> Details:
    finding = outcome.finding
    items = [
        (Strong("Observations: "), finding.unit),
        (Strong("Inference: "), finding.method),
        (Strong("Verdict: "), finding.verdict),
        (Strong("Seeds for a verdict: "), f"at least {finding.least_seeds}."),
    ]
    return Details("How it was tested (fixed before any result was seen)", [Bullets(items)])


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
