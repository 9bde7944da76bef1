"""Where a plug-in is, and what is in it, told without running it.

A sweep file names code as ``FILE.py:NAME``, or by the name under which an installed package offers it (a Python entry
point). A file's text is carried along: to the workers, into the sweep's folder, into exported capsules. An installed
package must be installed wherever the sweep trains.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from orchestrator.errors import PluginError, nearest

Kind = Literal["method", "optimizer", "schedule", "tracker", "evaluation", "stopping_rule", "searcher"]

GROUPS: dict[Kind, str] = {
    "method": "sft_orchestrator.methods",
    "optimizer": "sft_orchestrator.optimizers",
    "schedule": "sft_orchestrator.schedules",
    "tracker": "sft_orchestrator.trackers",
    "evaluation": "sft_orchestrator.evaluations",
    "stopping_rule": "sft_orchestrator.stopping_rules",
    "searcher": "sft_orchestrator.searchers",
}
"""What can be added, and the group of entry points under which an installed package offers it."""

REFERENCE = r"\.py:[A-Za-z_][A-Za-z0-9_]*$"
"""How the name of code in a file ends, as a regular expression for editors; see `is_reference`."""


@dataclass(frozen=True)
class PluginCode:
    """One plug-in as found.

    Attributes:
        kind: What it is.
        reference: How the sweep file names it: ``FILE.py:NAME``, or the name of an entry point.
        digest: Of the file's text (of the package's name, version and file); part of the sweep's identity.
        place: The file, or ``package version``, for people.
        source: Text of the file; empty for an installed package.
        target: ``MODULE:NAME`` of an installed package; empty for a file.
    """

    kind: Kind
    reference: str
    digest: str
    place: str
    source: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        if self.source and self.digest != _digest(self.source.encode()):
            raise ValueError(f"the text of {self.reference} is not the one that its digest {self.digest} stands for")

    @property
    def name(self) -> str:
        """The name inside the file or module."""
        return (self.target or self.reference).rpartition(":")[2]

    def as_dict(self) -> dict[str, str]:
        """Return a JSON-able dictionary, inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> PluginCode:
        """Rebuild what `as_dict` gave."""
        kind = next(kind for kind in GROUPS if kind == values["kind"])
        return cls(kind, *(values[key] for key in ("reference", "digest", "place", "source", "target")))


def is_reference(word: object) -> bool:
    """Whether a word of a sweep file names code in a file: ``FILE.py:NAME``."""
    if not isinstance(word, str):
        return False
    file, colon, name = word.rpartition(":")
    return bool(colon) and file.endswith(".py") and name.isidentifier()


def short_name(reference: str) -> str:
    """Return what a plug-in is called in names and tables: ``Mine`` for ``code/mine.py:Mine``."""
    return reference.rpartition(":")[2] if is_reference(reference) else reference


def offered(kind: Kind) -> dict[str, metadata.EntryPoint]:
    """Return what installed packages offer, by name; none of their code is run."""
    return {point.name: point for point in metadata.entry_points(group=GROUPS[kind])}


def find_code(kind: Kind, word: str, folder: Path, where: str, field: str) -> PluginCode | None:
    """Return the plug-in that a word names; None if it is neither a reference nor the name of an entry point.

    Args:
        kind: What is looked for.
        word: From the sweep file.
        folder: Where relative files are meant from: the folder of the sweep file.
        where: The sweep file, for messages.
        field: The field where the word stands, for messages.

    Raises:
        PluginError: If the file is missing, is no Python, or has no such name at its top level.
    """
    if is_reference(word):
        return _from_file(kind, word, folder, where, field)
    point = offered(kind).get(word)
    return None if point is None else _from_package(kind, point, where, field)


def _from_file(kind: Kind, reference: str, folder: Path, where: str, field: str) -> PluginCode:
    place, _, name = reference.rpartition(":")
    file = (folder / place).resolve()
    try:
        source = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = (path.name for path in file.parent.glob("*.py")) if file.parent.is_dir() else ()
        raise PluginError(where, field, reference, f"there is no file {file}", nearest(file.name, beside)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(where, field, reference, f"{file} cannot be read ({error})") from None
    _check_name(source, file, name, where, field, reference)
    return PluginCode(kind, reference, _digest(source.encode()), str(file), source)


def _from_package(kind: Kind, point: metadata.EntryPoint, where: str, field: str) -> PluginCode:
    if point.dist is None or ":" not in point.value:
        rule = f"the entry point {point.value!r} of group {GROUPS[kind]} is not MODULE:NAME of an installed package"
        raise PluginError(where, field, point.name, rule)
    file = point.module.replace(".", "/")
    parts = [each for each in point.dist.files or () if str(each) in (f"{file}.py", f"{file}/__init__.py")]
    content = b"".join(Path(str(each.locate())).read_bytes() for each in parts)
    label = f"{point.dist.name} {point.dist.version}"
    return PluginCode(kind, point.name, _digest(label.encode() + content), label, target=point.value)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _check_name(source: str, file: Path, name: str, where: str, field: str, reference: str) -> None:
    """Raise unless a name stands at the top level of a file, told from its text."""
    try:
        tree = ast.parse(source, filename=str(file))
    except SyntaxError as error:
        raise PluginError(f"{file}:{error.lineno}", rule=f"this is no Python: {error.msg} ({reference})") from None
    known = set(_names(tree.body))
    if name not in known and not any(isinstance(each, ast.ImportFrom) and _star(each) for each in tree.body):
        mend = nearest(name, known) or f"it has {', '.join(sorted(known)) or 'no names'}"
        raise PluginError(where, field, reference, f"there is no '{name}' at the top level of {file}", mend)


def _star(statement: ast.ImportFrom) -> bool:
    return any(alias.name == "*" for alias in statement.names)


def _names(body: Iterable[ast.stmt]) -> Iterable[str]:
    """Yield the names that statements bind, those in branches too."""
    for each in body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in each.names)
        elif isinstance(each, ast.Assign | ast.AnnAssign):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        elif isinstance(each, ast.If | ast.Try | ast.With):
            yield from _names(each.body)
            if not isinstance(each, ast.With):
                yield from _names(each.orelse)
            if isinstance(each, ast.Try):
                yield from _names(statement for handler in each.handlers for statement in handler.body)
