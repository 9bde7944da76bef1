"""The winner against base model and runner-up, every metric with its standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, counted, listed
from orchestrator.reporting.sweep_report.layout.blocks import Block, Column, Section, Table, note, warning
from orchestrator.reporting.sweep_report.sections.methods import with_error
from orchestrator.reporting.text.numbers import number
from orchestrator.results.records import TrialResult


@dataclass(frozen=True)
class Lead:
    """By how much one trial leads another: ``by`` is positive, ``error`` the standard error of the difference."""

    by: float
    error: float | None

    @property
    def errors(self) -> float | None:
        """The lead in standard errors."""
        return self.by / self.error if self.error else None


def lead(facts: SweepFacts, winner: TrialResult, other: TrialResult) -> Lead | None:
    """Return how far the winner leads by the objective; None where it was not measured for both."""
    if winner.objective is None or other.objective is None:
        return None
    own, others = facts.error(winner.standard_errors), facts.error(other.standard_errors)
    both = None if own is None or others is None else math.hypot(own, others)
    return Lead(facts.loss(other.objective) - facts.loss(winner.objective), both)


def comparison_section(facts: SweepFacts) -> Section | None:
    """Return the table of scores; None while no trial has completed."""
    winner, runner_up = facts.winner, facts.result.runner_up
    if winner is None:
        return None
    metrics = list(dict.fromkeys([*facts.objective.weights, *winner.scores]))
    rows = [_row(facts, metric, winner, runner_up) for metric in metrics]
    if len(facts.objective.weights) > 1:
        rows.insert(0, _weighted(facts, winner, runner_up))
    columns = [
        Column("score"),
        Column("winner", True),
        Column("runner-up", True),
        Column("base model", True),
        Column("winner - runner-up", True),
    ]
    titles = f"Winner: {winner.name}. " + (
        f"Runner-up: {runner_up.name}." if runner_up else "No other trial completed."
    )
    blocks: list[Block] = [note(titles), Table(columns, rows, frozenset({0})), *_notes(facts, winner)]
    return Section("comparison", "Winner against base model and runner-up", blocks)


def _notes(facts: SweepFacts, winner: TrialResult) -> list[Block]:
    blocks: list[Block] = [
        note(
            "± is one standard error over the held-out rows. Differences are taken as if both trials had been scored on "
            "different rows; on the same rows the true error of a difference is as a rule smaller."
        )
    ]
    other = facts.result.runner_up
    ahead = None if other is None else lead(facts, winner, other)
    if ahead is not None and ahead.by < 0:
        text = "This one trial of the runner-up scored better than this one trial of the winner"
        blocks.insert(0, note(f"{text}: the winner is the recipe that stands over all its seeds (How sure this is)."))
    broken = facts.broken(winner)
    if broken:
        blocks.insert(
            0,
            warning(
                f"The winner breaks {counted(len(broken), 'constraint')}: {listed(broken)}. No completed trial keeps all of them."
            ),
        )
    elif facts.objective.constraints:
        bounds = listed([bound.label for bound in facts.objective.constraints])
        blocks.insert(0, note(f"The winner keeps the constraints of the objective: {bounds}."))
    return blocks


def _row(facts: SweepFacts, metric: str, winner: TrialResult, runner_up: TrialResult | None) -> list[str]:
    base = facts.result.base_scores.get(metric)
    first = with_error(winner.scores.get(metric), winner.standard_errors.get(metric))
    if runner_up is None:
        return [metric, first, "-", number(base), "-"]
    second = with_error(runner_up.scores.get(metric), runner_up.standard_errors.get(metric))
    return [metric, first, second, number(base), _difference(metric, winner, runner_up)]


def _difference(metric: str, winner: TrialResult, runner_up: TrialResult) -> str:
    values = winner.scores.get(metric), runner_up.scores.get(metric)
    if values[0] is None or values[1] is None:
        return "-"
    errors = winner.standard_errors.get(metric), runner_up.standard_errors.get(metric)
    both = None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])
    gap = values[0] - values[1]
    return f"{gap:+.3g}" if both is None else f"{gap:+.3g} ± {number(both, 2)}"


def _weighted(facts: SweepFacts, winner: TrialResult, runner_up: TrialResult | None) -> list[str]:
    base = facts.value(facts.result.base_scores)
    cells = [facts.label, _valued(facts, winner.scores, winner.standard_errors)]
    if runner_up is None:
        return [*cells, "-", number(base), "-"]
    ahead = lead(facts, winner, runner_up)
    sign = -1 if facts.objective.mode == "min" else 1
    gap = "-" if ahead is None else f"{sign * ahead.by:+.3g}" + (f" ± {number(ahead.error, 2)}" if ahead.error else "")
    return [*cells, _valued(facts, runner_up.scores, runner_up.standard_errors), number(base), gap]


def _valued(facts: SweepFacts, scores: Mapping[str, float], errors: Mapping[str, float]) -> str:
    return with_error(facts.value(scores), facts.error(errors))
