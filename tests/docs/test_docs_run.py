"""The documentation's commands and Python blocks are run, in a small world; what is not run says why."""

import contextlib
import itertools
from pathlib import Path

import pytest

from tests.worlds.doc_blocks import ROOT, SHELLS, all_blocks, looks_like_commands
from tests.worlds.doc_world import build, kill, orchestrate

CONTROLS = ("stop", "resume", "clone")
"""Commands that want a sweep with trials that have not ended."""

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def runnable(*languages):
    return [pytest.param(block, id=block.label) for block in all_blocks(*languages) if not block.reason]


@pytest.fixture(scope="session")
def built(tmp_path_factory, shared_ray):
    return build(tmp_path_factory.mktemp("docs") / "world", shared_ray.address)


@pytest.fixture(scope="session")
def fresh(built, tmp_path_factory):
    """Give a function that returns a new copy of the world, as no block may lean on another's leavings."""
    numbers = itertools.count()
    return lambda: built.copy_to(tmp_path_factory.mktemp(f"copy{next(numbers)}"))


@pytest.fixture(scope="session")
def done():
    return {}


@pytest.mark.parametrize("block", runnable(*SHELLS))
def test_docs_commands_run(block, fresh, done):
    worlds = {}
    for words in block.commands:
        words = words[: words.index(">")] if ">" in words else words
        assert words[0] == "orchestrate", f"{block.label}: only orchestrate is run here; say why this is not"
        if tuple(words) in done:
            continue
        kind = "killed" if words[1] in CONTROLS else "finished"
        if kind not in worlds:
            worlds[kind] = kill(fresh()) if kind == "killed" else fresh()
        world = worlds[kind]
        waits = ["--no-wait"] if kind == "killed" else []
        with contextlib.chdir(world.folder):
            if words[1] == "record-export":  # it refuses to replace a file
                Path("quickstart.jsonl.gz").unlink()
            code, shown = orchestrate(*map(world.here, words[1:]), *waits)
        assert code == 0, f"{block.label}: {' '.join(words)}\n{shown}"
        done[tuple(words)] = block.label


@pytest.mark.parametrize("block", runnable("python"))
def test_docs_python_runs(block, fresh):
    world = kill(fresh()) if "clone_trial" in block.text else fresh()
    namespace = {"__name__": "docs_example"}
    with contextlib.chdir(world.folder):
        exec(compile(world.here(block.text), block.label, "exec"), namespace)


@pytest.mark.parametrize("block", [pytest.param(block, id=block.label) for block in all_blocks("")])
def test_docs_commands_are_marked_as_such(block):
    assert not looks_like_commands(block), f"{block.label}: commands stand in a ```bash block, so that they are run"


def test_docs_reasons_name_files_that_exist():
    for block in all_blocks(*SHELLS, "python", "yaml"):
        for word in block.reason.replace(",", " ").split():
            if word.startswith(("tests/", "search_spaces/", ".ci/")):
                assert (ROOT / word.rstrip(".;")).exists(), f"{block.label}: {word}"
