"""The trade-off curve of a replay as inline SVG: samples spent (logarithmic) against regret, every rule a mark or line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from orchestrator.simulation.forecast.intervals import Estimate
from orchestrator.simulation.rules import OURS

WIDTH, HEIGHT = 440, 400
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 16, 44
MARKS = ("circle", "square", "triangle", "diamond", "cross")
_RADIUS = 4.5
_LETTER_WIDTH, _LINE_HEIGHT = 6.2, 13


@dataclass(frozen=True)
class Mark:
    """One rule in the chart: ``spent`` is a share of exhaustive, ``regret`` in the chart's unit, ``detail`` its hint."""

    name: str
    family: str
    group: str
    spent: Estimate
    regret: Estimate
    detail: str


class Scales:
    """From shares and regrets to places in the chart.

    Regret is linear near 0 and logarithmic above (inverse hyperbolic sine), since 0 is the value that matters most.

    Args:
        marks: What must fit.
        unit: The regret from which on the axis turns logarithmic; None chooses one from the marks.
    """

    def __init__(self, marks: Sequence[Mark], unit: float | None) -> None:
        spent = [value for mark in marks for value in _finite(mark.spent) if value > 0]
        regrets = [value for mark in marks for value in _finite(mark.regret)]
        self.least = min(spent, default=0.1) / 1.25
        self.top = max([*regrets, unit or 0.0]) * 1.15 or 1.0
        self.unit = unit or self.top / 30

    def x(self, share: float) -> float:
        """Return the place of a share of exhaustive."""
        place = math.log(max(share, self.least) / self.least) / math.log(1.1 / self.least)
        return LEFT + place * (WIDTH - LEFT - RIGHT)

    def y(self, regret: float) -> float:
        """Return the place of a regret."""
        place = math.asinh(min(max(regret, 0.0), self.top) / self.unit) / math.asinh(self.top / self.unit)
        return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)

    def spent_ticks(self) -> list[float]:
        """Return shares to label."""
        return [tick for tick in _nice(self.least, 1.0) if tick >= self.least]

    def regret_ticks(self) -> list[float]:
        """Return regrets to label: 0, and as many round ones as have room."""
        ticks = [0.0]
        for tick in _nice(self.unit / 2, self.top):
            if tick <= self.top and self.y(ticks[-1]) - self.y(tick) >= 1.6 * _LINE_HEIGHT:
                ticks.append(tick)
        return ticks


def chart(marks: Sequence[Mark], title: str, regret_label: str, unit: float | None = None) -> str:
    """Return the chart as one ``svg`` element; colours come from the page's classes ``g-GROUP``.

    Args:
        marks: The rules; those whose regret or cost is not a number are left out.
        title: Read out by screen readers.
        regret_label: Of the vertical axis.
        unit: A regret to draw a line at (and to scale by), for example one repeat noise.
    """
    shown = [mark for mark in marks if math.isfinite(mark.spent.value) and math.isfinite(mark.regret.value)]
    scales = Scales(shown, unit)
    families: dict[str, list[Mark]] = {}
    for mark in shown:
        families.setdefault(mark.family, []).append(mark)
    shapes = dict(zip(families, symbols(shown), strict=True))
    # What is drawn last lies on top.
    layers = sorted(families, key=lambda family: families[family][0].group == OURS)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_axes(scales, regret_label, unit),
        *(part for family in layers for part in _family(families[family], shapes[family], scales)),
        *_labels(shown, scales),
        "</svg>",
    ]
    return "\n".join(parts)


def symbols(marks: Sequence[Mark]) -> list[str]:
    """Return one mark's shape per family, in order of first appearance, each group from the first shape on."""
    seen: dict[str, str] = {mark.family: mark.group for mark in marks}
    counts: dict[str, int] = {}
    chosen = []
    for group in seen.values():
        chosen.append(MARKS[counts.get(group, 0) % len(MARKS)])
        counts[group] = counts.get(group, 0) + 1
    return chosen


def symbol(shape: str, x: float, y: float, radius: float = _RADIUS) -> str:
    """Return a mark's shape around a place."""
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
    corners = {
        "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
        "triangle": ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
        "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
        "cross": (
            (-1.1, -0.4),
            (-0.4, -0.4),
            (-0.4, -1.1),
            (0.4, -1.1),
            (0.4, -0.4),
            (1.1, -0.4),
            (1.1, 0.4),
            (0.4, 0.4),
            (0.4, 1.1),
            (-0.4, 1.1),
            (-0.4, 0.4),
            (-1.1, 0.4),
        ),
    }[shape]
    points = " ".join(f"{x + radius * dx:.1f},{y + radius * dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}"/>'


def _axes(scales: Scales, regret_label: str, unit: float | None) -> Iterator[str]:
    floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in scales.regret_ticks():
        y = scales.y(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for tick in scales.spent_ticks():
        x = scales.x(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{floor + 15}" text-anchor="middle">{100 * tick:g} %</text>'
    if unit is not None:
        y = scales.y(unit)
        yield f'<line class="goal" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    middle = (LEFT + right) / 2
    yield f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">samples trained, share of exhaustive</text>'
    yield (
        f'<text class="axis" transform="translate(11 {(TOP + floor) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(regret_label)}</text>"
    )


def _family(marks: Sequence[Mark], shape: str, scales: Scales) -> Iterator[str]:
    ranked = sorted(marks, key=lambda mark: mark.spent.value)
    first = ranked[0]
    yield f'<g class="family g-{escape(first.group)}" data-family="{escape(first.family)}">'
    if len(ranked) > 1:
        places = " ".join(f"{scales.x(m.spent.value):.1f},{scales.y(m.regret.value):.1f}" for m in ranked)
        yield f'<polyline class="line" points="{places}"/>'
    for mark in ranked:
        yield from _interval(mark, scales)
    for mark in ranked:
        hint = f"<title>{escape(mark.detail)}</title>"
        place = symbol(shape, scales.x(mark.spent.value), scales.y(mark.regret.value))
        yield f'<g class="mark" data-detail="{escape(mark.detail)}">{hint}{place}</g>'
    yield "</g>"


def _interval(mark: Mark, scales: Scales) -> Iterator[str]:
    x, y = scales.x(mark.spent.value), scales.y(mark.regret.value)
    if mark.spent.high > mark.spent.low:
        ends = f'x1="{scales.x(mark.spent.low):.1f}" x2="{scales.x(mark.spent.high):.1f}"'
        yield f'<line class="interval" {ends} y1="{y:.1f}" y2="{y:.1f}"/>'
    if mark.regret.high > mark.regret.low:
        ends = f'y1="{scales.y(mark.regret.low):.1f}" y2="{scales.y(mark.regret.high):.1f}"'
        yield f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'


def _labels(marks: Sequence[Mark], scales: Scales) -> Iterator[str]:
    """Name our default and the rules that no other beats in both cost and regret, where there is room."""
    front = [mark for mark in marks if mark.name == OURS or not any(_beats(other, mark) for other in marks)]
    taken: list[tuple[float, float, float, float]] = []
    for mark in sorted(front, key=lambda mark: (mark.group != OURS, mark.spent.value)):
        x, y, width = scales.x(mark.spent.value), scales.y(mark.regret.value), _LETTER_WIDTH * len(mark.name)
        for anchor, left, base in (("start", x + 7, y - 6), ("end", x - 7 - width, y - 6), ("start", x + 7, y + 15)):
            box = (left, base - _LINE_HEIGHT, left + width, base + 3)
            inside = left >= LEFT and left + width <= WIDTH - 2 and base + 3 <= HEIGHT - BOTTOM + 2
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                start = left if anchor == "start" else left + width
                yield (
                    f'<text class="label g-{escape(mark.group)}" data-family="{escape(mark.family)}" x="{start:.1f}" '
                    f'y="{base:.1f}" text-anchor="{anchor}">{escape(mark.name)}</text>'
                )
                break


def _beats(one: Mark, other: Mark) -> bool:
    ours, theirs = (one.spent.value, one.regret.value), (other.spent.value, other.regret.value)
    return ours != theirs and ours[0] <= theirs[0] and ours[1] <= theirs[1]


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _finite(estimate: Estimate) -> list[float]:
    return [value for value in (estimate.value, estimate.low, estimate.high) if math.isfinite(value)]


def _nice(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two numbers above 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high * 1.0001
    ]
