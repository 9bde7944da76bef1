"""The documentation tells the truth: generated pages are fresh, links resolve, examples are valid."""

import ast
import copy
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.reading.yaml_text import read_yaml
from tests.worlds.doc_blocks import all_blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")],
)
# What fragments are laid over: a whole sweep with the evaluation sets that the examples speak of.
BASE = {
    "name": "base",
    "model": "testbed",
    "data": {"train": "testbed:sft"},
    "evaluation": [
        {"name": "eval"},
        {"name": "general", "kind": "text_loss", "data": "testbed:biographies"},
        {"name": "quiz", "kind": "exact_match", "data": "testbed:skills", "when": "end"},
    ],
    "search_space": {"method": ["full", "lora"], "effective_batch_size": [8, 32]},
}


def named(page):
    return str(page.relative_to(ROOT))


def fences(page, language):
    """Return (line, text) of each fenced block of a language."""
    found = []
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        found.append((text[: match.start()].count("\n") + 2, match[1]))
    return found


def blocks(language):
    return [pytest.param(text, id=f"{named(page)}:{line}") for page in PAGES for line, text in fences(page, language)]


def anchors(page):
    """Return the anchors that the headings of a page make (GitHub's rule)."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def links(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def merged(base, part):
    """Lay a mapping over another; lists and scalars replace."""
    result = copy.deepcopy(base)
    for key, value in part.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def whole(fragment):
    """Complete a fragment to a sweep; a mixture and phases with sources take the place of data.train, an entrypoint that of model and data."""
    replaced = ("model", "data", "evaluation") if "entrypoint" in fragment else ()
    values = merged({key: value for key, value in BASE.items() if key not in replaced}, fragment)
    data = values.get("data", {})
    if "mixture" in data or any("train" in phase for phase in data.get("phases", [])):
        del values["data"]["train"]
    return values


@pytest.fixture(scope="module")
def generate():
    place = ROOT / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("docs_generate", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_up_to_date(generate):
    for name, text in generate.pages().items():
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name} is not what the code says; run: python -m docs.generate"


def test_reference_pages_leave_no_field_without_a_meaning(generate):
    page = generate.sweep_file_page()
    empty = re.findall(r"^\| `(\w+)` \|.*\|\s*\|$", page, re.MULTILINE)
    assert empty == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_docs_relative_links_resolve(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{named(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{named(page)} links to {target}, which has no such heading"


def test_docs_every_page_can_be_reached():
    reached, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        queue += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if target[0] != "#"]
    assert {page for page in PAGES if page not in reached} == set()


@pytest.mark.parametrize("text", [pytest.param(b.text, id=b.label) for b in all_blocks("yaml") if not b.reason])
def test_docs_yaml_examples_validate(text, tmp_path):
    file = tmp_path / "example.yaml"
    file.write_text(text, encoding="utf-8")
    values, lines = read_yaml(file)
    if text.startswith("# cluster file\n"):
        ClusterProfile.model_validate(values)
    elif text.startswith("# fragment\n"):
        parse_sweep(whole(values), str(file))
    else:
        parse_sweep(values, str(file), lines)


@pytest.mark.parametrize("text", blocks("python"))
def test_docs_python_examples_compile(text):
    compile(text, "example", "exec")


def test_docs_python_examples_import_what_exists():
    for page in PAGES:
        for _, text in fences(page, "python"):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orchestrator"):
                    module = importlib.import_module(node.module)
                    assert all(hasattr(module, name.name) for name in node.names), f"{named(page)}: {node.module}"


def test_docs_show_the_default_chat_template():
    from orchestrator.training.data.chat_template import DEFAULT_TEMPLATE

    ((_, shown),) = fences(ROOT / "docs" / "data-formats.md", "jinja")
    assert shown.rstrip("\n") == DEFAULT_TEMPLATE


def test_docs_data_formats_names_every_shape_and_role():
    from orchestrator.training.data.conversations import ROLE_NAMES
    from orchestrator.training.data.files import ROW_READERS
    from orchestrator.training.data.formats import SHAPES

    page = (ROOT / "docs" / "data-formats.md").read_text(encoding="utf-8")
    words = {*SHAPES, *ROLE_NAMES, *(role for shape in SHAPES.values() for role in shape.roles)}
    endings = set(ROW_READERS) - {".text"}
    assert {word for word in words | endings if f"`{word}`" not in page} == set()


def test_readme_lists_every_command(generate):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = generate.typer.main.get_command(generate.app).commands
    assert {name for name in commands if f"| `orchestrate {name}" not in readme} == set()


def test_pre_commit_file_is_yaml_with_local_hooks_only():
    values = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in values["repos"]] == ["local"]
