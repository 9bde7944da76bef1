"""What a report is made of, whether it is written as HTML or as Markdown. Texts are plain: the writers escape them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "note", "warning"]
VegaSpec = dict[str, object]
"""A Vega-Lite specification, or a part of one, that is being made."""
Spec = Mapping[str, object]
"""A Vega-Lite specification, with its data."""


@dataclass(frozen=True)
class Strong:
    """Words that a reader in a hurry should see."""

    text: str


@dataclass(frozen=True)
class Mono:
    """A name from the sweep, or something to type."""

    text: str


Inline = str | Strong | Mono
Sentence = Sequence[Inline]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    spans: Sentence
    tone: Tone = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[Sentence]


@dataclass(frozen=True)
class Figure:
    """One of a few large figures: ``label`` above, ``detail`` below."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Figures:
    """A row of large figures."""

    items: Sequence[Figure]


@dataclass(frozen=True)
class Column:
    """A column of a table; ``wide`` columns hold sentences and may wrap, cells of ``strong`` ones stand out."""

    title: str
    numeric: bool = False
    wide: bool = False
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table; rows in ``strong`` (by index) stand out."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Code:
    """A text to copy."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart.

    Args:
        name: Unique in the report; also the name of its file.
        spec: Vega-Lite, without sizes of the page and without theme.
        title: Shown above.
        alt: What it shows, in words.
    """

    name: str
    spec: Spec
    title: str
    alt: str

    def rows(self) -> list[Mapping[str, object]]:
        """Return the rows of its data; none where each layer has data of its own."""
        data = self.spec.get("data")
        values = data.get("values") if isinstance(data, Mapping) else None
        return [row for row in values if isinstance(row, Mapping)] if isinstance(values, list) else []


@dataclass(frozen=True)
class Gallery:
    """Charts beside each other; ``least_width`` in pixels is what each needs."""

    charts: Sequence[Chart]
    least_width: int = 300


@dataclass(frozen=True)
class Legend:
    """What the colours of the following charts stand for: (label, colour as in `charts.COLOURS`)."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Details:
    """Blocks that are shown on demand (and in print)."""

    summary: str
    blocks: Sequence[Block]
    opened: bool = False


Block = Paragraph | Bullets | Figures | Table | Code | Chart | Gallery | Legend | Details


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading; ``anchor`` is unique."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """A whole report; ``headline`` holds the sentences that say everything in brief, ``written`` is a Unix time."""

    title: str
    subtitle: str
    headline: Sequence[Sentence]
    figures: Figures
    sections: Sequence[Section]
    written: float

    def charts(self) -> Iterable[Chart]:
        """Yield every chart in order."""
        for section in self.sections:
            yield from _charts(section.blocks)


def _charts(blocks: Sequence[Block]) -> Iterable[Chart]:
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Gallery):
            yield from block.charts
        elif isinstance(block, Details):
            yield from _charts(block.blocks)


def note(*spans: Inline) -> Paragraph:
    """Return a paragraph that explains how something was computed or why it is missing."""
    return Paragraph(spans, "note")


def warning(*spans: Inline) -> Paragraph:
    """Return a paragraph that a reader must not miss."""
    return Paragraph(spans, "warning")


def plain(sentence: Sentence) -> str:
    """Return a sentence without its markings."""
    return "".join(span if isinstance(span, str) else span.text for span in sentence)
