"""Where a report is written, and that a run survives one that cannot be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator import read_sweep, write_report
from orchestrator.api.report.report import report_at_end
from orchestrator.errors import StorageError
from orchestrator.reporting.terminal.summary import decision_note
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.tracker import SweepInfo
from tests.worlds.report_sweeps import MadeSweep, finished, sweep_spec


def test_report_goes_into_the_sweeps_folder_by_default(tmp_path):
    folder = finished(tmp_path)
    written = write_report("made", tmp_path)
    assert written.page == folder.root / "report" / "report.html"
    assert written.markdown == folder.root / "report" / "report.md"
    assert {file.parent for file in written.pictures} == {folder.root / "report" / "plots"}
    text = written.markdown.read_text()
    assert all(f"(plots/{file.name})" in text for file in written.pictures)
    assert all(file.read_text().startswith("<svg ") for file in written.pictures)
    assert written.headline[1].startswith("Use ")
    assert not list(folder.report_folder.rglob("*.tmp"))


def test_report_writes_one_file_by_its_ending(tmp_path):
    folder = finished(tmp_path / "runs")
    page = write_report(folder, out=tmp_path / "mine.html")
    assert (page.page, page.markdown, page.pictures) == (tmp_path / "mine.html", None, ())
    text = write_report(folder, out=tmp_path / "texts" / "mine.md")
    assert (text.page, text.markdown) == (None, tmp_path / "texts" / "mine.md")
    assert (tmp_path / "texts" / "plots").is_dir()
    both = write_report(folder, out=tmp_path / "new" / "folder")
    assert both.page == tmp_path / "new" / "folder" / "report.html"


def test_report_again_replaces_the_earlier_one(tmp_path):
    made = MadeSweep(tmp_path, sweep_spec())
    made.train(3)
    first = write_report(made.folder)
    before = first.page.read_text()
    made.train(24)
    made.end()
    assert write_report(made.folder).page.read_text() != before


def test_static_pictures_hold_no_variable_of_the_page(tmp_path):
    for file in write_report(finished(tmp_path)).pictures:
        assert "var(--" not in file.read_text()


@pytest.mark.parametrize(
    ("place", "said"),
    [("made.pdf", "a report is a .html or .md file"), ("file/below.html", "no folder that can be written to")],
)
def test_report_place_that_cannot_be_is_told_before_anything_is_read(tmp_path, place, said):
    folder = finished(tmp_path / "runs")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=said):
        write_report(folder, out=tmp_path / place)


def test_report_of_an_unknown_sweep_names_the_nearest(tmp_path):
    finished(tmp_path)
    with pytest.raises(StorageError, match="Did you mean 'made'"):
        write_report("maid", tmp_path)


@pytest.fixture
def tracker():
    tracker = MemoryTracker()
    tracker.start_sweep(SweepInfo("id", "made"))
    return tracker


def test_end_of_a_run_logs_the_report_and_opens_the_note_with_it(tmp_path, tracker):
    folder = finished(tmp_path)
    result = read_sweep(folder).result
    said = []
    report = report_at_end(folder, result, tracker, said.append)
    assert (said, report.page) == (["Writing the report ..."], str(folder.report_folder / "report.html"))
    artifacts = tracker.runs[""].artifacts
    assert artifacts["report/report.html"] == (folder.report_folder / "report.html").read_text()
    assert {"report/report.md", "report/plots/curves-held-out.svg"} <= set(artifacts)
    note = decision_note(result, report.story).splitlines()
    assert note[0].startswith(f"**Use {result.winner.name}**")
    assert "(#/experiments/memory/runs/memory-sweep/artifacts/report/report.html)" in note[2]


def test_end_of_a_run_tells_the_status_that_its_driver_knows(tmp_path, tracker):
    made = MadeSweep(tmp_path, sweep_spec())
    made.train(24)
    with made.alive() as folder:
        result = read_sweep(folder).result
        assert result.status == "running"
        report_at_end(folder, replace(result, status="completed"), tracker, print)
    assert "Still running" not in (made.folder.report_folder / "report.html").read_text()


def test_report_that_cannot_be_written_fails_no_run(tmp_path, tracker):
    folder = finished(tmp_path)
    result = read_sweep(folder).result
    folder.report_folder.write_text("in the way")
    said = []
    assert report_at_end(folder, result, tracker, said.append).page == ""
    assert said[-1].startswith("The report could not be written (")
    assert f"orchestrate report {folder.root}" in said[-1]
    assert decision_note(result, "").startswith("# made")


class Impatient(MemoryTracker):
    """Someone presses Ctrl-C while the artifacts are logged."""

    def log_artifact(self, file, folder=""):
        raise KeyboardInterrupt


def test_report_that_is_interrupted_fails_no_run(tmp_path):
    folder = finished(tmp_path)
    said = []
    assert report_at_end(folder, read_sweep(folder).result, Impatient(), said.append).story == ""
    assert said[-1].startswith("The report could not be written (KeyboardInterrupt)")


def test_damaged_reports_of_trials_leave_gaps_and_no_error(tmp_path):
    folder = finished(tmp_path)
    for place, file in enumerate(sorted(folder.root.rglob("reports/*.json"))):
        if place % 2:
            file.unlink()
        elif place % 3 == 0:
            file.write_text("{")
    written = write_report(folder)
    assert json.loads(json.dumps(written.as_dict()))["bytes"][str(written.page)] > 900_000
