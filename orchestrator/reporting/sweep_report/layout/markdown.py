"""A report as Markdown, with its charts as pictures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.reporting.sweep_report.layout.blocks import (
    Block,
    Bullets,
    Chart,
    Code,
    Details,
    Figures,
    Gallery,
    Inline,
    Legend,
    Paragraph,
    Report,
    Sentence,
    Strong,
    Table,
)

_MARKS = re.compile(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))")
"""What has a meaning inside a line; an underscore between two letters or figures has none."""
_BLOCK_START = re.compile(r"^(\d+(?=[.)])|(?=[-+#=]))([-+#=.)])(?=[\s#=-]|$)")
"""What begins a list, a heading, or a line under one; in front of a word or figure it is a sign or a point."""


def report_markdown(report: Report, pictures: str = "plots") -> str:
    """Return the report as GitHub-flavoured Markdown; texts of the sweep are escaped.

    Args:
        report: The report.
        pictures: Folder of the charts, relative to the file; each is ``NAME.svg`` there.
    """
    lines = [f"# {escaped(report.title)}", "", escaped(report.subtitle), ""]
    for sentence in report.headline:
        lines += [spans(sentence), ""]
    lines += _figures(report.figures)
    for section in report.sections:
        lines += [f"## {escaped(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block, pictures)
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """Return a text that Markdown and the HTML in it show as it is, on one line."""
    flat = " ".join(text.split())
    safe = _MARKS.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    # Renderers make links of bare addresses; what a sweep is called must not become one.
    safe = safe.replace("://", ":&#47;/").replace("@", "&#64;")
    return _BLOCK_START.sub(r"\1\\\2", safe)


def spans(sentence: Sentence) -> str:
    """Return a sentence with its markings."""
    return "".join(_span(span) for span in sentence)


def _span(span: Inline) -> str:
    if isinstance(span, str):
        shown = escaped(span)
        return (" " if span[:1] == " " and shown else "") + shown + (" " if span[-1:] == " " and span.strip() else "")
    if isinstance(span, Strong):
        lead, tail = span.text[: len(span.text) - len(span.text.lstrip())], span.text[len(span.text.rstrip()) :]
        return f"{lead}**{escaped(span.text)}**{tail}"
    return mono(span.text)


def mono(text: str) -> str:
    """Return a text in backticks, more of them than it holds itself."""
    flat = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", flat)), default=0)
    fence, pad = "`" * (longest + 1), " " if flat[:1] == "`" or flat[-1:] == "`" else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def _block(block: Block, pictures: str) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield from ("> " * (block.tone == "warning") + spans(block.spans), "")
    elif isinstance(block, Bullets):
        yield from (*(f"- {spans(item)}" for item in block.items), "")
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Code):
        yield from _code(block)
    elif isinstance(block, Chart):
        yield from (f"**{escaped(block.title)}**", "", f"![{escaped(block.alt)}]({pictures}/{block.name}.svg)", "")
    elif isinstance(block, Gallery):
        for chart in block.charts:
            yield from _block(chart, pictures)
    elif isinstance(block, Details):
        yield from (f"**{escaped(block.summary)}**", "")
        for each in block.blocks:
            yield from _block(each, pictures)
    else:
        # Pictures carry their own legends.
        assert isinstance(block, (Legend, Figures))


def _figures(block: Figures) -> list[str]:
    heads = " | ".join(escaped(item.label) for item in block.items)
    values = " | ".join(f"**{escaped(item.value)}** {escaped(item.detail)}".rstrip() for item in block.items)
    return [f"| {heads} |", "|" + "---|" * len(block.items), f"| {values} |", ""]


def _table(block: Table) -> Iterator[str]:
    yield f"| {' | '.join(escaped(column.title) for column in block.columns)} |"
    yield "|" + "|".join("---:" if column.numeric else "---" for column in block.columns) + "|"
    for place, row in enumerate(block.rows):
        cells = [
            _cell(cell, place in block.strong or column.strong) for column, cell in zip(block.columns, row, strict=True)
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _cell(text: str, strong: bool) -> str:
    return f"**{escaped(text)}**" if strong and text.strip() else escaped(text)


def _code(block: Code) -> Sequence[str]:
    longest = max((len(run) for run in re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return (f"{fence}yaml", block.text.rstrip("\n"), fence, "")
