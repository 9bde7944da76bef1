"""Where a sweep file may name code of the user's own, and what it names there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import PluginError
from orchestrator.plugins.code import GROUPS, Kind, PluginCode, find_code
from orchestrator.spec.evaluations.kinds import KINDS
from orchestrator.spec.methods.entries import ENTRIES
from orchestrator.spec.searchers import SEARCHERS
from orchestrator.spec.trial.optimizers import OPTIMIZERS
from orchestrator.spec.trial.schedules import SCHEDULES


@dataclass(frozen=True)
class _Word:
    """A word of a sweep file that may name a plug-in, and its field."""

    kind: Kind
    text: str
    field: str
    is_ours: bool


def find_plugins(
    values: Mapping[str, object], folder: Path, where: str, known: Collection[str] = ()
) -> tuple[PluginCode, ...]:
    """Return the plug-ins that the values of a sweep file name, in a fixed order; none of them is run.

    Args:
        values: As read from YAML, overrides included.
        folder: Where relative files are meant from.
        where: The sweep file, for messages.
        known: Labels of plug-ins that need not be found.

    Raises:
        PluginError: If a file or a name in it is missing.
    """
    found: dict[tuple[Kind, str], PluginCode] = {}
    for word in _words(values):
        # Names of our own are ours, whatever packages offer; asking those takes a while, and is seldom needed.
        if word.is_ours or f"{word.kind} {word.text}" in known or (word.kind, word.text) in found:
            continue
        code = find_code(word.kind, word.text, folder, where, word.field)
        if code is not None:
            found[word.kind, word.text] = code
    return tuple(found[key] for key in sorted(found))


def plugin_label(code: PluginCode) -> str:
    """Return how a sweep names a plug-in among its digests: ``method mine.py:Mine``."""
    return f"{code.kind} {code.reference}"


def read_label(label: str) -> tuple[Kind, str]:
    """Return kind and reference of `plugin_label`.

    Raises:
        ValueError: If it is none.
    """
    word, _, reference = label.partition(" ")
    kind = next((kind for kind in GROUPS if kind == word), None)
    if kind is None or not reference:
        raise ValueError(f"{label!r} is not KIND NAME with one of the kinds {', '.join(GROUPS)}")
    return kind, reference


def check_pinned(codes: Sequence[PluginCode], pinned: Mapping[str, str], where: str) -> None:
    """Raise where a sweep file says which text of a plug-in it means, and another one is there, or none.

    Raises:
        PluginError: Names the plug-in and both digests.
    """
    now = {plugin_label(code): code for code in codes}
    for label, digest in pinned.items():
        code = now.get(label)
        if code is None:
            raise PluginError(
                where, f"plugins.{label}", digest, "nothing in this file names such code", "remove the line"
            )
        if code.digest != digest:
            raise PluginError(
                where,
                f"plugins.{label}",
                digest,
                f"{code.place} has another text ({code.digest})",
                "put the text back, or remove the digest to use the present one",
            )


def _words(values: Mapping[str, object]) -> Iterator[_Word]:
    for kind, place, read, ours in _PLACES:
        node: object = values
        for key in place:
            node = node.get(key) if isinstance(node, Mapping) else None
        field = ".".join(place)
        for text in read(node):
            yield _Word(kind, text, field, text in ours)


def _texts(node: object) -> Iterator[str]:
    """Yield every text at or below a node, but no keys."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, Sequence):
        for value in node:
            yield from _texts(value)


def _methods(node: object) -> Iterator[str]:
    """Yield the methods of a search space: a name, a list of names, or the keys of a mapping."""
    if isinstance(node, Mapping):
        yield from (key for key in node if isinstance(key, str))
    else:
        yield from _texts(node)


def _field_of(*names: str) -> Callable[[object], Iterator[str]]:
    """Return a reader of one field of a mapping, or of each mapping in a list; a bare text stands for it."""

    def read(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Mapping):
            yield from (value for name in names if isinstance(value := node.get(name), str))
        elif isinstance(node, Sequence):
            for entry in node:
                yield from read(entry)

    return read


_PLACES: tuple[tuple[Kind, tuple[str, ...], Callable[[object], Iterator[str]], Collection[str]], ...] = (
    ("method", ("search_space", "method"), _methods, ENTRIES),
    ("optimizer", ("search_space", "optimizer"), _texts, OPTIMIZERS),
    ("schedule", ("search_space", "schedule"), _texts, SCHEDULES),
    ("evaluation", ("evaluation",), _field_of("kind"), KINDS),
    ("searcher", ("searcher",), _field_of("kind"), SEARCHERS),
    ("stopping_rule", ("stopping", "rules"), _field_of("rule"), ()),
    ("tracker", ("tracking",), _field_of("tracker"), ()),
)
"""Kind of plug-in, the field of a sweep file that may name it, how its words are read there, and our own names there."""
