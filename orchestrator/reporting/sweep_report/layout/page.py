"""A report as one HTML page that needs nothing else: style, drawing library and data are inside it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.reporting.sweep_report.layout.blocks import Mono, Report, Strong
from orchestrator.reporting.sweep_report.layout.charts import DARK, LIGHT, drawing_library, finite, page_spec

_HERE = Path(__file__).parent


def report_page(report: Report) -> str:
    """Return the page. Every text of the report is escaped; nothing is loaded from anywhere."""
    charts = {chart.name: page_spec(chart.spec) for chart in report.charts()}
    template = _environment().get_template("page.html.j2")
    return template.render(
        report=report,
        style=_verbatim("page.css"),
        script=_verbatim("page.js"),
        library=Markup(drawing_library() if charts else ""),
        charts=script_json(charts),
        light=_variables(LIGHT),
        dark=_variables(DARK),
    )


def script_json(value: object) -> Markup:
    """Return JSON that can stand in a script element: no text in it can end the element or begin a comment.

    Numbers that JSON does not have become null.
    """
    text = json.dumps(finite(value), separators=(",", ":"), allow_nan=False)
    for mark, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(mark, code)
    return Markup(text)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.tests["strong"] = lambda span: isinstance(span, Strong)
    made.tests["mono"] = lambda span: isinstance(span, Mono)
    made.filters["kind"] = lambda block: type(block).__name__
    return made


def _verbatim(name: str) -> Markup:
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _variables(colours: dict[str, str]) -> Markup:
    return Markup(" ".join(f"--{name}: {value};" for name, value in colours.items()))
