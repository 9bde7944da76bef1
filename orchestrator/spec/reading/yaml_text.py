"""YAML as people write it: numbers such as 1e-5 read as numbers, doubled keys refused, every key with its line."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from orchestrator.errors import SpecError, nearest

PathKey = tuple[str | int, ...]

_FLOAT = re.compile(
    r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN)$"
)
_INTEGER = re.compile(r"^[-+]?[0-9][0-9_]*$")
# YAML 1.1's own rules for these tags read 1e-5 as text, 12:30 as 750 and 010 as 8.
_OWN_TAGS = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp")


class _Loader(yaml.SafeLoader):
    """Safe YAML with plain decimal numbers and without doubled keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Build a mapping; a key written twice is an error at the second place."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key must be a single word", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key!r} appears twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)).replace("_", ""))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in _OWN_TAGS]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_OWN_TAGS[1], _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(_OWN_TAGS[0], _FLOAT, list("-+0123456789."))
_Loader.add_constructor(_OWN_TAGS[1], _decimal)


def read_yaml(file: Path) -> tuple[dict[str, object], dict[PathKey, int]]:
    """Return a YAML file's mapping and the line of every key.

    Raises:
        SpecError: If the file is missing, unreadable, no YAML, or no mapping.
    """
    text = _read_text(file)
    lines: dict[PathKey, int] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        collect_lines(node, (), lines)
        values = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise SpecError(place, rule=f"this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise SpecError(str(file), rule=f"this is not YAML: {error}") from None
    except RecursionError:
        raise SpecError(str(file), rule="this YAML is nested too deeply, or contains itself") from None
    if not isinstance(values, dict):
        raise SpecError(str(file), rule=f"a sweep file is a mapping of fields, this one is a {type(values).__name__}")
    return values, lines


def read_value(text: str) -> object:
    """Return the value that a short YAML text stands for.

    Raises:
        ValueError: With one line that says why it is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(error.problem or error.context or "not YAML") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = file.parent if file.parent.is_dir() else Path()
        mend = nearest(file.name, [p.name for p in folder.glob("*.y*ml")])
        raise SpecError(str(file), rule="there is no such file", mend=mend or "check the path") from None
    except UnicodeDecodeError:
        raise SpecError(str(file), rule="the file cannot be read as text", mend="give a YAML file in UTF-8") from None
    except OSError as error:
        raise SpecError(str(file), rule=f"the file cannot be read ({error.strerror or error})") from None


def collect_lines(node: yaml.Node | None, path: PathKey, lines: dict[PathKey, int]) -> None:
    """Note the line of every key and list entry at or below a node, by its path."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            here = (*path, str(key_node.value))
            lines[here] = key_node.start_mark.line + 1
            collect_lines(value_node, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            lines[(*path, index)] = child.start_mark.line + 1
            collect_lines(child, (*path, index), lines)
