"""The page and the Markdown file: complete, self-contained, drawable, and safe whatever things are called."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from orchestrator import read_sweep
from orchestrator.reporting.sweep_report.compose import compose_report
from orchestrator.reporting.sweep_report.layout.charts import drawing_library, static_svg
from orchestrator.reporting.sweep_report.layout.markdown import escaped, mono, report_markdown
from orchestrator.reporting.sweep_report.layout.page import report_page, script_json
from tests.worlds.report_sweeps import LEVELS, RANGES, MadeSweep, finished, quality, sweep_spec

NOW = 2_000_000_000.0
VOID = {"meta", "link", "br"}
HOSTILE = (
    "</script><img src=x onerror=alert(1)> [a](javascript:alert(1)) `b` | **c** {{ 7*7 }} & \u2028 ![p](http://e.vil/)"
)


class Page(HTMLParser):
    """Collects tags, attributes and the texts of scripts; notes a tag that is closed out of turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.tags, self.attributes, self.scripts, self.texts = [], [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    def ids(self):
        return [value for key, value in self.attributes if key == "id"]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = finished(
        tmp_path_factory.mktemp("runs"), diverges=lambda c: c.learning_rate == 3e-3 and c.method == "full"
    )
    return read_sweep(folder, signals=True)


@pytest.fixture(scope="module")
def report(history):
    return compose_report(history, NOW)


@pytest.fixture(scope="module")
def page(report):
    return report_page(report)


def test_report_tells_everything_in_order(report):
    assert [section.anchor for section in report.sections] == [
        "recipe",
        "comparison",
        "heat-map",
        "curves",
        "methods",
        "importance",
        "pareto",
        "next",
        "calibration",
        "completed",
        "stopped",
        "capsule",
    ]


def test_page_is_well_formed_and_its_anchors_lead_somewhere(page):
    read = Page(page)
    assert not read.faults
    assert not read.open
    targets = [value[1:] for key, value in read.attributes if key == "href"]
    assert targets
    assert set(targets) <= set(read.ids())
    assert len(read.ids()) == len(set(read.ids()))


def test_page_loads_nothing(page):
    own = page.replace(drawing_library(), "")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", own)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", own)
    assert set(re.findall(r"https?://[^\"'\s<]+", own)) <= {"https://vega.github.io/schema/vega-lite/v6.json"}
    (policy,) = [value for key, value in Page(page).attributes if value and "default-src" in value]
    assert policy.startswith("default-src 'none';")


def test_page_holds_the_data_of_every_chart_it_shows(page, report):
    read = Page(page)
    shown = [value for key, value in read.attributes if key == "data-chart"]
    specs = json.loads(read.scripts[0])
    assert shown == [chart.name for chart in report.charts()] == list(specs)
    for spec in specs.values():
        compiled = vl_convert.vegalite_to_vega(spec, vl_version="6.4")
        assert compiled["marks"]
        assert "url" not in json.dumps([data.keys().__repr__() for data in compiled["data"]])


def test_curves_carry_stop_points_with_their_reasons(report, history):
    (chart,) = [chart for chart in report.charts() if chart.name == "curves-held-out"]
    trials = chart.spec["transform"][0]["from"]["data"]["values"]
    stopped = [row for row in trials if row["end"] == "stopped"]
    assert len(stopped) == history.result.counts["stopped"] > 0
    assert all(row["reason"].startswith("Stopped: ") for row in stopped)
    assert [row["end"] for row in trials].count("diverged") == history.result.counts["diverged"] > 0


def test_heat_map_marks_trials_that_did_not_complete(report, history):
    cells = [
        row for chart in report.charts() if chart.name.startswith("heat-map") for row in chart.spec["data"]["values"]
    ]
    assert {row["mark"] for row in cells if row["done"]} == {""}
    assert all(re.fullmatch(r"(stopped|diverged) [\d,]+", row["mark"]) for row in cells if not row["done"])
    best = [row for row in cells if row["best"]]
    assert [row["trial"] for row in best] == [history.result.winner.name]
    assert best[0]["shade"] == max(row["shade"] for row in cells)


def hostile(history):
    """Put hostile text wherever a text comes from data."""
    trials = tuple(
        replace(
            trial,
            result=replace(
                trial.result,
                name=f"{HOSTILE} {trial.result.name}",
                reason=f"{HOSTILE} why",
                scores={**trial.result.scores, HOSTILE: 1.0},
            ),
        )
        for trial in history.trials
    )
    by_id = {trial.result.trial_id: trial.result for trial in trials}
    result = replace(
        history.result,
        name=HOSTILE,
        storage=HOSTILE,
        trials=tuple(trial.result for trial in trials),
        winner=by_id[history.result.winner.trial_id],
        runner_up=by_id[history.result.runner_up.trial_id],
        base_scores={**history.result.base_scores, HOSTILE: 1.0},
    )
    content = {
        **history.content,
        "model": {**history.content["model"], "path": HOSTILE},
        "data": {**history.content["data"], "train": HOSTILE},
    }
    environment = {"host": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    return replace(
        history, result=result, trials=trials, content=content, inputs={HOSTILE: HOSTILE}, environment=environment
    )


def test_hostile_texts_add_no_tag_and_end_no_script(history, page):
    benign, attacked = Page(page), Page(report_page(compose_report(hostile(history), NOW)))
    assert not attacked.faults
    assert sorted(set(attacked.tags)) == sorted(set(benign.tags))
    assert attacked.tags.count("script") == 3
    assert not [key for key, _ in attacked.attributes if key.startswith("on")]
    assert json.loads(attacked.scripts[0]).keys() == json.loads(benign.scripts[0]).keys()
    assert any(HOSTILE[:40] in text for text in attacked.texts)
    assert "{{ 7*7 }}" in "".join(attacked.texts), "nothing in a text is a template"


def test_hostile_texts_make_no_link_picture_or_html_in_markdown(history):
    rendered = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(report_markdown(compose_report(hostile(history), NOW)))
    )
    read = Page(rendered.replace("<br>", ""))
    assert "a" not in read.tags
    assert "script" not in read.tags
    assert {value for key, value in read.attributes if key == "src"} == {
        f"plots/{chart.name}.svg" for chart in compose_report(history, NOW).charts()
    }
    assert not [key for key, _ in read.attributes if key.startswith("on")]


def test_hostile_texts_leave_pictures_well_formed_and_without_links(history):
    for chart in compose_report(hostile(history), NOW).charts():
        elements = [each.tag.rpartition("}")[2] for each in ElementTree.fromstring(static_svg(chart)).iter()]
        assert set(elements) <= {"svg", "g", "path", "text", "rect", "line", "defs", "clipPath"}, chart.name


@pytest.mark.parametrize(
    "text", ["- a", "1. a", "# a", "> a", "a|b", "~~a~~", "<b>a</b>", "&amp;", "* a", "=== a", "a\n\n# b"]
)
def test_markdown_shows_a_text_as_it_is(text):
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(escaped(text))
    assert Page(rendered).texts[0].strip() == " ".join(text.split())
    assert set(Page(rendered).tags) == {"p"}


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" \n"), min_size=1).filter(
        lambda text: text.strip()
    )
)
def test_markdown_shows_any_text_as_it_is(text):
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(escaped(text))
    assert html.unescape(re.sub(r"^<p>|</p>\n$", "", rendered)) == " ".join(text.split())


@pytest.mark.parametrize("text", ["plain", "a`b", "``a", "`", "a b`"])
def test_markdown_shows_typed_text_as_it_is(text):
    read = Page(MarkdownIt().render(mono(text)))
    assert read.tags == ["p", "code"]
    assert read.texts[0] == text


def test_script_json_reads_back_and_names_no_impossible_number():
    value = {"a": ["</script><!--", "\u2028&", 1.5], "b": float("nan"), "c": (float("inf"), None)}
    text = str(script_json(value))
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == {"a": ["</script><!--", "\u2028&", 1.5], "b": None, "c": [None, None]}


def test_markdown_names_recipe_and_every_stopped_trial(history, report):
    text = report_markdown(report)
    assert "name: made-recipe" in text
    for trial in history.result.trials:
        assert escaped(trial.name) in text


def test_many_trials_stay_small_and_say_what_is_left_out(tmp_path):
    made = MadeSweep(tmp_path, sweep_spec(search_space=RANGES, budget={"trials": 200, "samples": LEVELS[-1]}), step=16)
    made.train(200)
    report = compose_report(read_sweep(made.end(), signals=True), NOW)
    curves = next(section for section in report.sections if section.anchor == "curves")
    assert re.search(r"Of 200 trials with a milestone \d\d are drawn", curves.blocks[0].spans[0])
    size = len(report_page(report).encode())
    assert len(drawing_library()) < size < 2_000_000
    drawn = json.dumps([chart.spec for chart in report.charts() if chart.name == "curves-training-loss"])
    assert drawn.count('"x_"') < 60 * 110
    best = read_sweep(made.folder).result.winner.name
    assert best in drawn, "the best trial is always drawn"
    assert quality(read_sweep(made.folder).result.winner.config) < 1
