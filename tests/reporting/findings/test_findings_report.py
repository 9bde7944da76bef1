"""The findings report: what stands on its pages, whatever the runs say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.reporting.findings.analysis.analyse import analyse
from orchestrator.reporting.findings.analysis.outcome import not_tested, without_verdict
from orchestrator.reporting.findings.analysis.runs import Runs
from orchestrator.reporting.findings.pages.compose import compose_findings
from orchestrator.reporting.findings.pages.facts import FindingsFacts, SweepState
from orchestrator.reporting.findings.pages.figures import published
from orchestrator.reporting.findings.pages.wording import effect_text, interval_text, rate_text
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.registration import Finding, registration, registration_digest
from orchestrator.reporting.sweep_report.layout.blocks import Chart, Details, Gallery
from orchestrator.reporting.sweep_report.layout.markdown import report_markdown
from orchestrator.reporting.sweep_report.layout.page import report_page
from tests.worlds.planted_runs import Planted, planted_suite


def facts_of(truth: Planted, **changes) -> FindingsFacts:
    shared, runs = registration(), planted_suite(truth)
    there = dict.fromkeys(designs(), True)
    outcomes = [analyse(finding, runs, there, shared, True) for finding in shared.findings]
    sweeps = [SweepState(name, f"secret_recipe_mini_{name}", 10, 10, True, 100.0, 20.0) for name in designs()]
    made = FindingsFacts(
        "mini",
        ["testbed", "testbed-small"],
        "the test bed",
        True,
        1e-3,
        "found by a sweep",
        sweeps,
        outcomes,
        runs,
        registration_digest(),
        [],
        "orchestrate reproduce secret-recipe",
        0.0,
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def facts():
    return facts_of(Planted())


def section_of(report, finding):
    return next(section for section in report.sections if section.anchor == finding.lower())


def charts_of(blocks):
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Gallery):
            yield from block.charts
        elif isinstance(block, Details):
            yield from charts_of(block.blocks)


@pytest.mark.parametrize("finding", registration().findings, ids=lambda finding: finding.id)
def test_every_finding_has_its_page_with_the_papers_plot_and_the_same_one_here(facts, finding):
    section = section_of(compose_findings(facts), finding.id)
    outcome = next(each for each in facts.outcomes if each.finding == finding)
    assert section.title.endswith(outcome.verdict)
    names = [chart.name for chart in charts_of(section.blocks)]
    assert sum(name.startswith(f"{finding.id}-paper") for name in names) == len(published()[finding.id]["charts"])
    assert any(name.startswith(f"{finding.id}-here") for name in names)
    assert f"{finding.id}-effects" in names


def test_markdown_and_page_name_every_primary_effect_with_its_interval(facts):
    report = compose_findings(facts)
    markdown, page = report_markdown(report), report_page(report)
    for outcome in facts.outcomes:
        assert outcome.finding.statement in page
        for each in outcome.primary:
            assert each.comparison.says in markdown
            assert f"{effect_text(each)}** ({interval_text(each)}), n = {each.effect.n}" in markdown.replace("\\", "")
    assert facts.digest in markdown


def test_a_finding_that_comes_out_otherwise_on_another_score_says_so():
    facts = facts_of(Planted())
    shared, target = registration(), "held_out_loss"
    f3 = next(outcome for outcome in facts.outcomes if outcome.finding.id == "F3")
    turned = tuple(replace(each, verdict="not reproduced") if each.target == target else each for each in f3.judged)
    markdown = report_markdown(compose_findings(replace(facts, outcomes=[replace(f3, judged=turned)])))
    assert f"not reproduced on {shared.targets.title[target]}" in markdown.replace("\\", "")


def test_a_finding_without_runs_shows_the_papers_plot_and_what_it_waits_for(facts):
    outcome = not_tested(registration().finding("F6"), "it waits for tulu", True)
    report = compose_findings(replace(facts, outcomes=[outcome], runs=Runs([])))
    assert [chart.name for chart in report.charts()] == ["F6-paper-1"]
    assert "it waits for tulu" in report_markdown(report)


def test_a_finding_without_a_verdict_keeps_its_numbers(facts):
    outcome = without_verdict(facts.outcomes[2], "far too small")
    report = compose_findings(replace(facts, outcomes=[outcome]))
    markdown = report_markdown(report)
    assert "far too small" in markdown
    assert outcome.primary[0].comparison.says in markdown
    assert "For your next run" not in markdown
    assert facts.counts()["not tested"] == 0


def test_an_unfinished_suite_says_how_far_it_is(facts):
    sweeps = [replace(sweep, trials=4, complete=False) for sweep in facts.sweeps]
    assert f"{4 * len(sweeps)} of {10 * len(sweeps)} trials" in report_markdown(
        compose_findings(replace(facts, sweeps=sweeps))
    )


def test_names_from_outside_are_escaped(facts):
    evil = replace(facts, models=["<script>alert(1)</script>"], data="**bold**")
    assert "<script>alert(1)" not in report_page(compose_findings(evil))
    assert "&lt;script&gt;" in report_markdown(compose_findings(evil))


def test_facts_are_plain_json(facts):
    values = json.loads(json.dumps(facts.as_dict(), allow_nan=False))
    assert [finding["finding"] for finding in values["findings"]] == ["F1", "F2", "F3", "F4", "F5", "F6", "F7"]


def test_registration_is_closed_and_hangs_together():
    values = registration().finding("F1").model_dump()
    with pytest.raises(ValueError, match="primary"):
        Finding.model_validate(values | {"comparisons": [{**values["comparisons"][0], "primary": False}]})
    with pytest.raises(ValueError, match="no design 'nowhere'"):
        Finding.model_validate(values | {"sweeps": ["nowhere"]})
    with pytest.raises(ValueError, match="Extra inputs"):
        Finding.model_validate(values | {"extra": 1})


def test_every_registered_comparison_is_made(facts):
    for outcome in facts.outcomes:
        made = {each.comparison.name for each in outcome.judged}
        assert made == {entry.name for entry in outcome.finding.comparisons}, outcome.finding.id


def test_a_reproduced_finding_names_the_secondary_comparisons_that_speak_against_it(facts):
    # The planted small batch leads at first, so choosing its best checkpoint turns the lead round.
    markdown = report_markdown(compose_findings(facts))
    first = markdown.partition("## F1")[2].partition("## F2")[0]
    assert "Against it speaks" in first
    assert "checkpoint and rate chosen on validation" in first.partition("Against it speaks")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("value", "low", "high", "minimum", "words"),
    [
        (0.0247, -0.00626, 0.0557, 0.03, ("+0.025", "\u22120.006 to 0.056")),
        (-0.6, -0.818, -0.0239, 0.4, ("\u22120.60", "\u22120.82 to \u22120.02")),
        (-0.0001, -0.0004, 0.00049, 0.03, ("0.000", "0.000 to 0.000")),
        (1234.5, 1000.0, 1500.0, 20.0, ("+1,234", "1,000 to 1,500")),
        (0.012345, 0.0, 0.02, 0.0, ("+0.0123", "0 to 0.02")),
    ],
)
def test_an_effect_is_told_no_finer_than_what_matters(facts, value, low, high, minimum, words):
    some = facts.outcomes[0].primary[0]
    each = replace(some, effect=replace(some.effect, value=value, low=low, high=high), minimum=minimum)
    assert (effect_text(each), interval_text(each)) == words


@pytest.mark.parametrize(("rate", "words"), [(2e-5, "2e-5"), (1e-4, "1e-4"), (0.0015, "1.5e-3"), (1.0, "1e0")])
def test_learning_rates_are_written_as_papers_do(rate, words):
    assert rate_text(rate) == words


def test_a_legend_fades_only_charts_that_show_what_is_picked(facts):
    for chart in compose_findings(facts).charts():
        told = json.dumps(chart.spec)
        groups = {row["group"] for row in chart.spec["data"]["values"]}
        assert all(json.dumps(json.dumps(group))[1:-1] in told for group in groups), chart.name
        assert "indexof" in told
