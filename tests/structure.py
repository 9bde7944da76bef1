"""The structure of the package as numbers: ``python -m tests.structure [--json]`` prints them.

Read from the source alone, so that any commit can be measured: ``--root DIR`` names another checkout.
Imports for typing alone count: what a reader must open is what counts, not what Python runs.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

FOLDER_LIMIT = 20
FMT_SKIP_LIMIT = 20
_FORMATTER_OFF = re.compile(r"#\s*fmt:\s*(skip|off)")
_WORD_ANY = re.compile(r"\bAny\b")
# Data that is no code: one file a run or a picture.
_NO_ROOMS = {"__pycache__", "docs/plots"}


def module_name(path: Path, root: Path) -> str:
    """``orchestrator/spec/sweep.py`` is ``orchestrator.spec.sweep``; a package has the name of its folder."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package by its name."""
    return {module_name(path, root): path for path in sorted((root / "orchestrator").rglob("*.py"))}


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports anywhere: at its top, in functions, for typing."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def module_graph(root: Path) -> dict[str, set[str]]:
    """Module to the modules that it imports. The program's entry and lazy lists of names are left out."""
    known = modules(root)
    return {
        name: set(imported(path, known)) - {name}
        for name, path in known.items()
        if name not in ("orchestrator", "orchestrator.api", "orchestrator.__main__")
    }


def room(name: str, known: dict[str, Path]) -> str:
    """The folder that a module stands in."""
    return name if known[name].name == "__init__.py" else name.rpartition(".")[0]


def folder_graph(root: Path) -> dict[str, dict[str, list[str]]]:
    """Folder to folder, with the imports that make each arrow."""
    known = modules(root)
    graph: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, targets in module_graph(root).items():
        for target in targets:
            here, there = room(name, known), room(target, known)
            if here != there:
                graph[here][there].append(f"{name} -> {target}")
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, set()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            part = []
            while not part or part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def folder_circles(root: Path) -> list[list[str]]:
    """Folders that import each other, directly or around a corner."""
    return circles({here: set(there) for here, there in folder_graph(root).items()})


def crowded_folders(root: Path, limit: int = FOLDER_LIMIT) -> dict[str, int]:
    """Folders with more files than a person takes in at a glance."""
    counts: dict[str, int] = {}
    for top in ("orchestrator", "tests", "docs", "search_spaces", "clusters"):
        for folder in [root / top, *(root / top).rglob("*/")]:
            place = folder.relative_to(root).as_posix()
            if folder.name in _NO_ROOMS or place in _NO_ROOMS or "__pycache__" in place:
                continue
            files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"]
            if len(files) > limit:
                counts[place] = len(files)
    return counts


def count_lines(root: Path, pattern: re.Pattern[str], tops: tuple[str, ...]) -> int:
    """How often a pattern stands in the Python files below some folders."""
    return sum(
        len(pattern.findall(path.read_text(encoding="utf-8")))
        for top in tops
        for path in sorted((root / top).rglob("*.py"))
    )


def figures(root: Path) -> dict[str, int]:
    """What the structure is measured by."""
    known, graph = modules(root), module_graph(root)
    numbers = {
        "modules": len(known),
        "files in the largest folder of orchestrator": max(
            sum(1 for entry in folder.iterdir() if entry.is_file() and entry.suffix != ".pyc")
            for folder in [root / "orchestrator", *(root / "orchestrator").rglob("*/")]
            if folder.name != "__pycache__"
        ),
        "folders above 20 files": len(crowded_folders(root)),
        "circles among modules": len(circles(graph)),
        "circles among folders": len(folder_circles(root)),
        "fmt: skip": count_lines(root, _FORMATTER_OFF, ("orchestrator", "tests", "docs", "search_spaces")),
        "Any in orchestrator": count_lines(root, _WORD_ANY, ("orchestrator",)),
    }
    folders = folder_graph(root)
    for top in ("api", "training", "tuning"):
        place = f"orchestrator.{top}"
        files = [name for name in graph if room(name, known) == place]
        numbers[f"imports among the files of {top}"] = sum(len(graph[name] & set(files)) for name in files)
        inside = [name for name in folders if name.startswith(f"{place}.")]
        arrows = sum(there in inside for here in inside for there in folders[here])
        numbers[f"imports among the rooms of {top}"] = arrows
    return numbers


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    numbers = figures(arguments.root)
    if arguments.json:
        print(json.dumps(numbers, indent=2))
        return
    for name, value in numbers.items():
        print(f"{value:6}  {name}")


if __name__ == "__main__":
    main()
