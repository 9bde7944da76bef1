"""Which words of a sweep file name plug-ins."""

from pathlib import Path

import pytest

from orchestrator.errors import PluginError
from orchestrator.spec.plugin_words import check_pinned, find_plugins, plugin_label


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("class A: pass\nclass B: pass\ndef f(): pass\n")
    return tmp_path


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({"search_space": {"method": "mine.py:A"}}, ["method mine.py:A"]),
        ({"search_space": {"method": ["full", "mine.py:A"]}}, ["method mine.py:A"]),
        ({"search_space": {"method": {"mine.py:A": {"r": "mine.py:B"}, "full": None}}}, ["method mine.py:A"]),
        ({"search_space": {"optimizer": {"choice": ["adamw", {"name": "mine.py:B"}]}}}, ["optimizer mine.py:B"]),
        ({"search_space": {"schedule": {"name": "mine.py:f", "end": 0.1}}}, ["schedule mine.py:f"]),
        ({"evaluation": [{"name": "eval", "kind": "mine.py:f"}, {"name": "mine.py:A"}]}, ["evaluation mine.py:f"]),
        ({"searcher": "mine.py:A"}, ["searcher mine.py:A"]),
        ({"searcher": {"kind": "mine.py:A", "seed": 1}}, ["searcher mine.py:A"]),
        ({"stopping": {"rules": ["mine.py:A", {"rule": "mine.py:B"}]}}, [f"stopping_rule mine.py:{n}" for n in "AB"]),
        ({"tracking": {"tracker": "mine.py:A"}}, ["tracker mine.py:A"]),
        ({"search_space": None, "evaluation": 3, "description": "mine.py:A", "model": "mine.py:A"}, []),
    ],
)
def test_words_are_found_where_code_may_be_named_and_nowhere_else(folder, values, labels):
    assert [plugin_label(code) for code in find_plugins(values, folder, "sweep.yaml")] == labels


def test_a_missing_name_says_where_it_was_asked_for(folder):
    with pytest.raises(PluginError, match=r"sweep.yaml: stopping.rules = 'mine.py:C': there is no 'C'"):
        find_plugins({"stopping": {"rules": ["mine.py:C"]}}, folder, "sweep.yaml")


def test_a_pinned_text_must_be_the_one_that_is_there(folder):
    codes = find_plugins({"searcher": "mine.py:A"}, folder, "sweep.yaml")
    check_pinned(codes, {"searcher mine.py:A": codes[0].digest}, "sweep.yaml")
    with pytest.raises(PluginError, match=r"plugins.method gone.py:A = '0': nothing in this file names such code"):
        check_pinned(codes, {"method gone.py:A": "0"}, "sweep.yaml")
    with pytest.raises(PluginError, match=r"plugins.searcher mine.py:A = '0': .*mine.py has another text"):
        check_pinned(codes, {"searcher mine.py:A": "0"}, "sweep.yaml")
