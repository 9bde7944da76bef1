"""The house stays in order: small folders, no circles, the formatter on."""

from pathlib import Path

from tests import structure

ROOT = Path(__file__).resolve().parents[1]


def test_no_folder_holds_more_than_twenty_files() -> None:
    assert structure.crowded_folders(ROOT) == {}


def test_no_two_modules_import_each_other_not_even_for_typing() -> None:
    assert structure.circles(structure.module_graph(ROOT)) == []


def test_no_two_folders_import_each_other() -> None:
    assert structure.folder_circles(ROOT) == []


def test_a_circle_would_be_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    assert structure.circles(graph) == [["a", "b", "c"]]


def test_the_formatter_is_on() -> None:
    assert structure.figures(ROOT)["fmt: skip"] < structure.FMT_SKIP_LIMIT
