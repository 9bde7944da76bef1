"""The page and the table: complete, escaped, self-contained."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from orchestrator.errors import StorageError
from orchestrator.reporting.replay.chart import HEIGHT, WIDTH, Mark, Scales, chart
from orchestrator.reporting.replay.page import check_page_place, replay_page, write_replay_page
from orchestrator.reporting.replay.table import ReplayProgress, print_replay, replay_table
from orchestrator.simulation.forecast.intervals import Estimate
from orchestrator.simulation.replay import Progress, replay
from orchestrator.simulation.rules import Rule, choose_rules
from orchestrator.simulation.synthetic.settings import SyntheticSettings
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep
from tests.worlds.replay_worlds import LOSS, Scripted, falling

VOID = {"meta", "link", "br", "circle", "line", "polyline", "polygon"}


class Reader(HTMLParser):
    """Collects tags, texts and attributes; notes a tag that is closed out of turn."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.attributes, self.texts, self.tags = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.faults
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def report():
    recorded = replace(synthetic_sweep(16, 0, SyntheticSettings(repeats=2)), name="made")
    return replay([recorded], choose_rules(["ours", "halving", "random-rf2", "no-stopping"]).rules, LOSS, draws=3)


def test_page_shows_every_rule_in_both_charts_legend_and_table(report):
    reader = read(replay_page(report))
    text = "\n".join(reader.texts)
    assert reader.tags.count("svg") == 2 + len({result.rule.family for result in report.results})
    for result in report.results:
        hints = [
            value
            for name, value in reader.attributes
            if name == "data-detail" and value.startswith(f"{result.rule.name}:")
        ]
        assert len(hints) == 2
        assert ("data-value", result.rule.name) in reader.attributes
        assert result.rule.family in text
    assert "made" in text
    assert "{{" not in replay_page(report)


def test_page_needs_no_network(report):
    page = replay_page(report)
    assert not re.search(r"(?:https?:)?//[a-z]", page)
    assert not {name for name, _ in read(page).attributes} & {"src", "href"}
    assert len(page) < 5_000_000


def test_page_joins_the_settings_of_one_rule_and_no_others(report):
    page = replay_page(report)
    lines = re.findall(r'data-family="([^"]+)">\n<polyline', page)
    assert lines == ["halving", "halving"]


def test_page_escapes_names_and_leaves_placeholders_in_them_alone():
    name = "<script>alert(1)</script>&\"'{{table}}"
    report = replay([replace(falling(5), name=name)], [Rule(name, "x y", Scripted)], LOSS, draws=1)
    page = replay_page(report)
    reader = read(page)
    assert reader.tags.count("script") == 1
    assert ("data-value", name) in reader.attributes
    assert name in reader.texts


def test_page_is_written_where_asked_and_faults_are_told(report, tmp_path):
    write_replay_page(report, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for wrong in (tmp_path, tmp_path / "none" / "page.html"):
        with pytest.raises(StorageError):
            check_page_place(wrong)
        with pytest.raises(StorageError):
            write_replay_page(report, wrong)
    check_page_place(tmp_path / "other.html")


def mark(name, spent, regret, group="baselines"):
    return Mark(name, name, group, Estimate(spent, spent / 2, min(1, spent * 2)), Estimate(regret, 0, 2 * regret), name)


@pytest.mark.parametrize("unit", [1.0, None])
@pytest.mark.parametrize("regrets", [(0, 0), (0, 1e-6), (0.5, 300), (2, 2)])
def test_chart_keeps_every_place_inside(unit, regrets):
    marks = [mark(f"a{n}", share, regret) for n, (share, regret) in enumerate(zip((0.01, 1.0), regrets, strict=True))]
    drawn = chart(marks, "title", "regret", unit)
    for name, limit in (("x", WIDTH), ("y", HEIGHT)):
        places = [float(value) for value in re.findall(rf'\s(?:c{name}|{name}[12]?)="([-\d.]+)"', drawn)]
        assert places
        assert all(0 <= place <= limit for place in places)


def test_chart_without_any_number_has_axes_only():
    drawn = chart([mark("a", float("nan"), 1.0)], "title", "regret", 1.0)
    assert "data-family" not in drawn
    assert "share of exhaustive" in drawn


def test_scales_rise_with_cost_and_regret():
    scales = Scales([mark("a", 0.02, 0.5), mark("b", 1.0, 40)], 1.0)
    shares, regrets = [0.02, 0.1, 0.5, 1.0], [0, 0.1, 1, 5, 40]
    assert [scales.x(share) for share in shares] == sorted(scales.x(share) for share in shares)
    assert [scales.y(regret) for regret in regrets] == sorted((scales.y(regret) for regret in regrets), reverse=True)
    assert {0.0, 1.0} <= set(scales.regret_ticks())
    assert {0.02, 0.1, 1.0} <= set(scales.spent_ticks())


def shown(report, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_replay(report, console)
    return console.export_text()


def test_table_has_one_row_per_rule_and_the_objective_in_its_title(report):
    wide = shown(report, 200).splitlines()
    assert "eval/loss (min)" in wide[0]
    for result in report.results:
        assert sum(line.startswith(f"{result.rule.name} ") for line in wide) == 1
    assert any("[" in line for line in wide if line.startswith("random-rf2"))


def test_table_on_a_narrow_terminal_leaves_intervals_out_and_says_so(report):
    narrow = shown(report, 90)
    assert "Intervals are left out" in narrow
    assert "[" not in next(line for line in narrow.splitlines() if line.startswith("random-rf2 "))
    assert "Intervals are left out" not in shown(report, 140)


def test_table_shows_a_dash_where_a_number_is_missing(report):
    table = replay_table(report)
    assert table.row_count == len(report.results)
    unknown = replay([falling(5)], choose_rules(["no-stopping"]).rules, LOSS, draws=1)
    assert "units of eval/loss" in shown(unknown, 200)


def test_progress_off_a_terminal_prints_plain_lines(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("orchestrator.reporting.replay.table.time.monotonic", lambda: now[0])
    console = Console(width=100, record=True, file=open("/dev/null", "w"), force_terminal=False)  # noqa: SIM115
    with ReplayProgress(console) as progress:
        for done in range(1, 4):
            now[0] += 8
            progress.show(Progress(done, 10, "ours", "made"))
    assert console.export_text().strip() == "[16 s] 2 of 10 (made: ours), 1 min 04 s left"
