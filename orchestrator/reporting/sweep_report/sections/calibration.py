"""Whether the forecast that stopped trials kept its word: its 90 % bands against where trials really ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.records import Scalar
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts, counted
from orchestrator.reporting.sweep_report.layout.blocks import Block, Chart, Column, Section, Table, note
from orchestrator.reporting.sweep_report.layout.charts import colour, number_axis, tooltip
from orchestrator.results.records import TrialHistory

BAND = 0.9
FEW = 10
"""Below so many completed trials a coverage is anecdotal, and is said to be."""
MOST_DRAWN = 8


@dataclass(frozen=True)
class Forecasted:
    """What was forecast for one trial at one milestone (``level`` in samples), and where it ended."""

    trial: str
    level: int
    low: float
    expected: float
    high: float
    ended: float

    @property
    def inside(self) -> bool:
        """Whether the trial ended within its band."""
        return self.low <= self.ended <= self.high


def calibration_section(facts: SweepFacts) -> Section | None:
    """Return the coverage of the bands; None where no forecast was made or no trial with one has completed."""
    found = forecasts(facts)
    if not found:
        return None
    trials = len({each.trial for each in found})
    rows = [_row(level, [each for each in found if each.level == level]) for level in sorted({e.level for e in found})]
    columns = [
        Column("milestone (samples)", True),
        Column("completed trials forecast", True),
        Column("ended inside the 90 % band", True),
        Column("median width of the band", True),
        Column("expected minus real end, median", True),
    ]
    blocks: list[Block] = [note(_what(facts, found, trials)), _chart(facts, found), Table(columns, rows)]
    return Section("calibration", "How well the forecast did", blocks)


def forecasts(facts: SweepFacts) -> list[Forecasted]:
    """Return the last forecast at each milestone of every trial that completed (audited ones included)."""
    found = []
    for trial in facts.completed:
        by_level = {
            decision.evidence["level"]: decision.evidence
            for decision in trial.decisions
            if "level" in decision.evidence and "expected_low" in decision.evidence
        }
        for evidence in by_level.values():
            found.append(_forecasted(trial, evidence))
    return sorted(found, key=lambda each: each.level)


def _forecasted(trial: TrialHistory, evidence: Mapping[str, Scalar]) -> Forecasted:
    names = ("expected_low", "expected_final", "expected_high")
    low, expected, high = (float(evidence[name] or 0.0) for name in names)
    return Forecasted(
        trial.result.name, int(evidence["level"] or 0), low, expected, high, trial.result.objective or 0.0
    )


def _what(facts: SweepFacts, found: Sequence[Forecasted], trials: int) -> str:
    inside = sum(each.inside for each in found)
    text = f"{inside} of {len(found)} forecasts held: the trial ended inside its 90 % band. "
    if trials < FEW:
        text += f"With {counted(trials, 'completed trial')} this is an anecdote, no measurement. "
    audited = sum(trial.result.audited for trial in facts.completed)
    if audited:
        return (
            text + f"Among them are {counted(audited, 'trial')} that had been stopped and were trained on by the audit."
        )
    return text + "Only trials that were let go on can be checked, and those were the promising ones."


def _row(level: int, found: Sequence[Forecasted]) -> list[str]:
    inside = sum(each.inside for each in found)
    widths, misses = sorted(e.high - e.low for e in found), sorted(e.expected - e.ended for e in found)
    middle = len(found) // 2
    return [
        f"{level:,}",
        str(len(found)),
        f"{inside} of {len(found)} ({inside / len(found):.0%})",
        f"{widths[middle]:.3g}",
        f"{misses[middle]:+.3g}",
    ]


def _chart(facts: SweepFacts, found: Sequence[Forecasted]) -> Chart:
    drawn = list(dict.fromkeys(trial.result.name for trial in facts.completed))[:MOST_DRAWN]
    shown = [each for each in found if each.trial in drawn]
    ends = [value for each in shown for value in (each.ended, each.expected)]
    room = max(max(ends) - min(ends), 1e-9)
    bottom, top = min(ends) - 0.15 * room, max(ends) + 0.15 * room
    rows: list[dict[str, object]] = [
        {
            "trial": each.trial,
            "rank": drawn.index(each.trial),
            "level": f"{each.level:,}",
            "held": "inside" if each.inside else "outside",
            "low_": each.low,
            "high_": each.high,
            "expected_": each.expected,
            "ended_": each.ended,
            # A band too narrow to be seen is drawn as wide as a line.
            "from": max(min(each.low, each.expected - 0.004 * room), bottom),
            "to": min(max(each.high, each.expected + 0.004 * room), top),
        }
        for each in shown
    ]
    levels = list(dict.fromkeys(row["level"] for row in rows))
    x = {
        "field": "level",
        "type": "ordinal",
        "sort": levels,
        "axis": {"title": "forecast made at (samples seen)", "labelAngle": 0, "labelOverlap": "greedy"},
    }
    # By rank: an order given by names would put names from data into the chart's code.
    offset = {"field": "rank", "type": "ordinal"}
    axis = number_axis(facts.label, [bottom, top], scale={"domain": [bottom, top], "nice": False, "type": "linear"})
    told = tooltip(
        trial="trial",
        level="forecast at",
        low_="band from",
        expected_="expected",
        high_="band to",
        ended_="ended at",
        held="the end lies",
    )
    ink = {"condition": {"test": "datum.held == 'inside'", "value": colour("good")}, "value": colour("bad")}
    base = {"x": x, "xOffset": offset, "tooltip": told}
    spec = {
        "height": 240,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.45, "clip": True},
                "encoding": {**base, "y": {"field": "from", **axis}, "y2": {"field": "to"}, "color": ink},
            },
            {
                "mark": {"type": "tick", "thickness": 2, "size": 9, "clip": True},
                "encoding": {**base, "y": {"field": "expected_", **axis}, "color": {"value": colour("faint")}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 42},
                "encoding": {**base, "y": {"field": "ended_", **axis}, "color": {"value": colour("ink")}},
            },
        ],
    }
    title = "Bands (bar), expected end (tick) and real end (dot)" + (
        f" of the {MOST_DRAWN} best trials" if len(drawn) == MOST_DRAWN else ""
    )
    return Chart("calibration", spec, title, "Forecast bands at each milestone, and where the trials ended.")
