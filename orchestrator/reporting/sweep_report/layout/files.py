"""A report on disk: the page, the Markdown file, the charts as pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import StorageError
from orchestrator.reporting.sweep_report.layout.blocks import Report, plain
from orchestrator.reporting.sweep_report.layout.charts import static_svg
from orchestrator.reporting.sweep_report.layout.markdown import report_markdown, spans
from orchestrator.reporting.sweep_report.layout.page import report_page

PAGE, MARKDOWN, PICTURES = "report.html", "report.md", "plots"
PAGE_ENDINGS, MARKDOWN_ENDINGS = (".html", ".htm"), (".md", ".markdown")


@dataclass(frozen=True)
class ReportFiles:
    """What was written; None for what was not asked for.

    ``headline`` holds the sentences that say it in brief as plain text, ``story`` the same as Markdown. ``tracking`` says
    what became of the same files among the artifacts of the sweep's MLflow run; empty where they were left alone.
    """

    page: Path | None
    markdown: Path | None
    pictures: tuple[Path, ...]
    headline: tuple[str, ...]
    story: tuple[str, ...]
    tracking: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        files = [file for file in (self.page, self.markdown, *self.pictures) if file is not None]
        return {
            "page": None if self.page is None else str(self.page),
            "markdown": None if self.markdown is None else str(self.markdown),
            "pictures": [str(file) for file in self.pictures],
            "bytes": {str(file): file.stat().st_size for file in files},
            "headline": list(self.headline),
            "tracking": self.tracking,
        }


@dataclass(frozen=True)
class ReportPlaces:
    """Where a report goes: ``page`` and ``markdown`` are files, either may be None."""

    page: Path | None
    markdown: Path | None


def report_places(out: Path) -> ReportPlaces:
    """Return where a report goes: both files into a folder, or one file by its ending.

    Raises:
        StorageError: If the place cannot hold a report; nothing has been written.
    """
    ending = out.suffix.lower()
    if out.is_dir() or not ending:
        _check_folder(out)
        return ReportPlaces(out / PAGE, out / MARKDOWN)
    if ending not in (*PAGE_ENDINGS, *MARKDOWN_ENDINGS):
        raise StorageError(
            "--out",
            value=str(out),
            rule="a report is a .html or .md file, or a folder for both",
            mend="give one of these endings, or a folder",
        )
    _check_folder(out.parent)
    return ReportPlaces(out, None) if ending in PAGE_ENDINGS else ReportPlaces(None, out)


def write_files(report: Report, places: ReportPlaces) -> ReportFiles:
    """Write the report; files that are there are replaced one at a time, each at once.

    Raises:
        StorageError: If a file cannot be written.
    """
    pictures: list[Path] = []
    if places.markdown is not None:
        folder = places.markdown.parent / PICTURES
        for chart in report.charts():
            pictures.append(folder / f"{chart.name}.svg")
            _write(pictures[-1], static_svg(chart))
        _write(places.markdown, report_markdown(report, PICTURES))
    if places.page is not None:
        _write(places.page, report_page(report))
    headline = tuple(plain(sentence) for sentence in report.headline)
    return ReportFiles(places.page, places.markdown, tuple(pictures), headline, tuple(map(spans, report.headline)))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(
            str(path),
            rule=f"cannot be written: {error.strerror or error}",
            mend="choose a place that exists and has room",
        ) from error


def _check_folder(folder: Path) -> None:
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise StorageError(
            "--out",
            value=str(folder),
            rule=f"{nearest} is no folder that can be written to",
            mend="choose a folder of your own",
        )
