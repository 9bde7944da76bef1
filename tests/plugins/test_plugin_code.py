"""A plug-in is found without being run, carried as text, and blamed by its own line."""

import pickle
import sys
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator.errors import PluginError
from orchestrator.plugins import code as plugin_code
from orchestrator.plugins.code import PluginCode, find_code, is_reference, short_name
from orchestrator.plugins.loading import blaming, check, forget, guarded, load, loaded

TEXT = '''"""A plug-in."""
import math
import sys

sys.setdefaultencoding_called = False
if True:
    class Mine:
        def __init__(self):
            self.value = math.pi

        def fail(self):
            return 1 / 0

alias = also = Mine
'''


@pytest.fixture(autouse=True)
def forgotten():
    yield
    forget("method", "mine.py:Mine")


def written(folder: Path, text: str = TEXT) -> Path:
    file = folder / "mine.py"
    file.write_text(text)
    return file


def find(folder: Path, word: str = "mine.py:Mine") -> PluginCode:
    found = find_code("method", word, folder, "sweep.yaml", "search_space.method")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("word", "is_one"),
    [
        ("mine.py:Mine", True),
        ("../code/mine.py:Mine", True),
        ("mine.py", False),
        ("mine:Mine", False),
        ("mine.py:", False),
        ("mine.py:not a name", False),
        ("lora", False),
        (None, False),
        (3, False),
    ],
)
def test_references_are_told_from_names(word, is_one):
    assert is_reference(word) is is_one


def test_short_name_is_the_last_part():
    assert [short_name(word) for word in ("code/mine.py:Mine", "lora")] == ["Mine", "lora"]


def test_found_code_is_not_run_and_knows_its_text(tmp_path):
    written(tmp_path, TEXT + "\nraise SystemExit('run')\n")
    found = find(tmp_path)
    assert found.source.endswith("raise SystemExit('run')\n")
    assert (found.name, found.place) == ("Mine", str(tmp_path / "mine.py"))
    assert PluginCode.from_dict(found.as_dict()) == found


@pytest.mark.parametrize("name", ["Mine", "alias", "also", "math"])
def test_names_at_the_top_level_are_found_also_in_branches(tmp_path, name):
    written(tmp_path)
    assert find(tmp_path, f"mine.py:{name}").name == name


def test_digest_follows_the_text(tmp_path):
    written(tmp_path)
    before = find(tmp_path)
    assert find(tmp_path).digest == before.digest
    written(tmp_path, TEXT + "# changed\n")
    assert find(tmp_path).digest != before.digest


@pytest.mark.parametrize(
    ("word", "text", "message"),
    [
        ("mine.py:Mina", TEXT, r"search_space.method = 'mine.py:Mina': there is no 'Mina' at .*Did you mean 'Mine'\?"),
        ("mine.py:Other", "", r"no 'Other' at the top level of .*It has no names"),
        ("min.py:Mine", TEXT, r"there is no file .*min.py. Did you mean 'mine.py'\?"),
        ("mine.py:Mine", "def broken(:\n", r"mine.py:1: this is no Python"),
    ],
)
def test_what_cannot_be_found_is_told_in_one_line(tmp_path, word, text, message):
    written(tmp_path, text)
    with pytest.raises(PluginError, match=message) as caught:
        find(tmp_path, word)
    assert "\n" not in str(caught.value)


def test_a_word_that_is_no_plug_in_is_none(tmp_path):
    assert find_code("method", "lora", tmp_path, "sweep.yaml", "search_space.method") is None


def test_code_is_run_once_a_text(tmp_path):
    written(tmp_path)
    found = find(tmp_path)
    assert loaded("method", "mine.py:Mine") is None
    first = load(found)
    assert load(found) is first
    assert loaded("method", "mine.py:Mine") is first
    written(tmp_path, TEXT.replace("math.pi", "3"))
    assert load(find(tmp_path)) is not first


def test_code_travels_as_text_where_its_file_is_not(tmp_path):
    file = written(tmp_path)
    found = pickle.loads(pickle.dumps(find(tmp_path)))
    file.unlink()
    made = load(found)()
    assert made.value > 3
    assert type(pickle.loads(pickle.dumps(made))) is type(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nothing_of_this_name\nclass Mine: pass\n",
            r"mine.py:1: importing it failed: ModuleNotFoundError.*Install",
        ),
        (
            "class Mine: pass\n\nraise ValueError('no')\n",
            r"mine.py:3: importing it failed: ValueError: no \(method mine",
        ),
    ],
)
def test_an_import_that_fails_names_the_line_and_leaves_nothing(tmp_path, text, message):
    written(tmp_path, text)
    before = set(sys.modules)
    with pytest.raises(PluginError, match=message):
        load(find(tmp_path))
    assert loaded("method", "mine.py:Mine") is None
    assert not {name for name in set(sys.modules) - before if name.startswith("orchestrator_plugin")}


def test_what_it_raises_later_names_its_own_line(tmp_path):
    written(tmp_path)
    found = find(tmp_path)
    made = load(found)()
    with (
        pytest.raises(PluginError, match=r"mine.py:12: training failed: ZeroDivisionError") as caught,
        guarded(found, "training failed"),
    ):
        made.fail()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_broken_contract_names_file_and_rule(tmp_path):
    written(tmp_path)
    with pytest.raises(PluginError, match=r"mine.py = 'mine.py:Mine': must be a class. Write one\."):
        check(False, find(tmp_path), "must be a class", "write one")


def test_an_installed_package_offers_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text("class Good:\n    def fail(self): return 1 / 0\n")
    info = tmp_path / "shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "RECORD").write_text("shop.py,,\n")
    (info / "entry_points.txt").write_text("[sft_orchestrator.methods]\ngood = shop:Good\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(plugin_code.offered("method")) == {"good"}
    found = find(tmp_path, "good")
    assert (found.place, found.target, found.source) == ("shop 1.0", "shop:Good", "")
    assert load(found).__name__ == "Good"
    assert metadata.version("shop") == "1.0"
    with pytest.raises(PluginError, match=r"shop.py:2: its code failed: ZeroDivisionError"), blaming():
        load(found)().fail()
    forget("method", "good")
    (tmp_path / "shop.py").write_text("class Good: changed = True\n")
    assert find(tmp_path, "good").digest != found.digest
    with pytest.raises(
        PluginError, match=r"shop 1.0 = 'good': this package is needed here, and shop 1.0 is, whose code"
    ):
        load(found)
