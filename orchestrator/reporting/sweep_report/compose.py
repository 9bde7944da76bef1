"""From a sweep's history to its report: which sections it has, in which order."""

from __future__ import annotations

from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, moment
from orchestrator.reporting.sweep_report.layout.blocks import Report, Section
from orchestrator.reporting.sweep_report.sections.calibration import calibration_section
from orchestrator.reporting.sweep_report.sections.capsule import capsule_section
from orchestrator.reporting.sweep_report.sections.certainty import certainty_section
from orchestrator.reporting.sweep_report.sections.comparison import comparison_section
from orchestrator.reporting.sweep_report.sections.curves import curves_section
from orchestrator.reporting.sweep_report.sections.edges import find_edges
from orchestrator.reporting.sweep_report.sections.headline import figures, headline
from orchestrator.reporting.sweep_report.sections.heat_map import heat_map_section
from orchestrator.reporting.sweep_report.sections.importance import importance_section
from orchestrator.reporting.sweep_report.sections.methods import methods_section
from orchestrator.reporting.sweep_report.sections.next_space import next_section
from orchestrator.reporting.sweep_report.sections.pareto import pareto_section
from orchestrator.reporting.sweep_report.sections.recipe import recipe_section
from orchestrator.reporting.sweep_report.sections.stopped import completed_section, stopped_section
from orchestrator.reporting.sweep_report.sections.trade_off import trade_off_section
from orchestrator.results.records import SweepHistory


def compose_report(history: SweepHistory, now: float) -> Report:
    """Return the report of a finished, running or interrupted sweep; sections with nothing to show are left out.

    Args:
        history: The sweep, with training signals (without them there are no curves of loss and gradient norm).
        now: Unix time at which the report is written.
    """
    facts = SweepFacts(history, now)
    edges = find_edges(facts)
    sections: list[Section | None] = [
        recipe_section(facts),
        comparison_section(facts),
        certainty_section(facts),
        heat_map_section(facts),
        curves_section(facts),
        methods_section(facts),
        importance_section(facts),
        pareto_section(facts),
        next_section(facts, edges),
        calibration_section(facts),
        trade_off_section(facts),
        completed_section(facts),
        stopped_section(facts),
        capsule_section(facts),
    ]
    return Report(
        title=f"Sweep {facts.result.name}",
        subtitle=_subtitle(facts),
        headline=headline(facts, edges),
        figures=figures(facts),
        sections=[section for section in sections if section is not None],
        written=now,
    )


_STATUS = {"completed": "Finished", "interrupted": "Interrupted", "running": "Running"}


def _subtitle(facts: SweepFacts) -> str:
    status = _STATUS.get(facts.result.status, facts.result.status)
    return f"{status}, last record {moment(facts.history.ended)}. Report written {moment(facts.now)}."
