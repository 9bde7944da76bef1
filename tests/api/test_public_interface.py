"""The public interface is listed and frozen: what changes it changes public_api.json, and is seen."""

import difflib
import importlib
import json
import pkgutil
from importlib.resources import files
from pathlib import Path

import pytest
from public_interface import COMMAND, LISTED, SNAPSHOT, describe, interface, written

import orchestrator
import orchestrator.api


def lines(values):
    return json.dumps(values, indent=1, ensure_ascii=False).splitlines()


@pytest.mark.parametrize("module", sorted({*interface(), *written()}))
def test_public_interface_is_the_one_on_record(module):
    before, now = written().get(module, {}), interface().get(module, {})
    changes = [line for line in difflib.unified_diff(lines(before), lines(now), lineterm="", n=0) if line[:2] != "@@"]
    assert not changes, "\n".join(
        [f"the public interface of {module} changed; if that is meant: {COMMAND}, and a line in CHANGELOG.md", *changes]
    )


@pytest.mark.parametrize("module", LISTED)
def test_public_names_are_sorted_and_exist(module):
    found = importlib.import_module(module)
    assert list(found.__all__) == sorted(found.__all__)
    assert all(getattr(found, name) is not None for name in found.__all__)


def test_package_offers_a_part_of_its_api():
    package, api = (importlib.import_module(name) for name in LISTED[:2])
    assert set(package.__all__) <= set(api.__all__)
    assert all(getattr(package, name) is getattr(api, name) for name in package.__all__)


def test_every_listed_name_is_there_under_its_own_name():
    for name in LISTED:
        module = importlib.import_module(name)
        assert module.__all__ == sorted(set(module.__all__))
        offered = {each: getattr(module, each) for each in module.__all__}
        assert all(isinstance(value, str) or value.__name__ == each for each, value in offered.items())


def test_package_tells_type_checkers_that_it_is_typed():
    assert files("orchestrator").joinpath("py.typed").is_file()


def test_description_tells_what_a_caller_could_notice():
    def offered(name: str, *, count: int = 3, say=print) -> list[str]: ...

    assert describe(offered) == "(name: str, *, count: int = 3, say = print) -> list[str]"


def test_record_names_no_place_of_this_machine():
    assert str(Path.cwd()) not in SNAPSHOT.read_text(encoding="utf-8")
    assert "PosixPath" not in SNAPSHOT.read_text(encoding="utf-8")


def test_no_module_bears_the_name_of_a_public_function():
    """Once imported, a submodule is an attribute of its package, and would hide what the package loads lazily."""
    for package in (orchestrator, orchestrator.api):
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert not modules & set(package.__all__)
