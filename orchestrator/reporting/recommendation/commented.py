"""A recommendation as a sweep file that a person reads: YAML with the reason of every choice above it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import yaml

from orchestrator.reporting.recommendation.advice import Advice

WIDTH = 110


def commented_yaml(
    values: Mapping[str, object], advice: Sequence[Advice], past_sweeps: Sequence[str], notes: Sequence[str]
) -> str:
    """Return the sweep file; without its comments it is what ``values`` says."""
    by_field = {one.field: one for one in advice}
    head = [*_head(past_sweeps, notes), ""]
    return "\n".join([*head, *_mapping(values, "", by_field, 0)]) + "\n"


def _head(past_sweeps: Sequence[str], notes: Sequence[str]) -> Iterator[str]:
    yield "# A search space recommended by `orchestrate recommend`: each choice with its reason and source."
    yield from _comment(f"Past sweeps that were looked at: {', '.join(past_sweeps) or 'none'}.", 0)
    for note in notes:
        yield from _comment(note, 0)


def _mapping(values: Mapping[str, object], path: str, advice: Mapping[str, Advice], depth: int) -> Iterator[str]:
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        if here in advice:
            told = advice[here]
            yield from _comment(f"{told.reason} [{'; '.join(told.sources)}]", depth)
        if isinstance(value, Mapping) and any(name.startswith(f"{here}.") for name in advice):
            yield f"{' ' * depth}{_key(key)}:"
            yield from _mapping(value, here, advice, depth + 2)
        else:
            yield from _plain(key, value, depth)


def _plain(key: str, value: object, depth: int) -> Iterator[str]:
    # Short mappings and lists on a line of their own; a bare value must not become ``{key: value}``.
    flow = None if isinstance(value, Mapping | list) else False
    text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=flow)
    yield from textwrap.indent(text.rstrip("\n"), " " * depth).split("\n")


def _key(key: str) -> str:
    return (
        str(yaml.safe_dump(key, default_flow_style=True, allow_unicode=True)).removesuffix("\n").removesuffix("\n...")
    )


def _comment(text: str, depth: int) -> Iterator[str]:
    # A name of a sweep or file may hold line breaks; a comment must not end before its text does.
    one_line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    for line in textwrap.wrap(one_line, WIDTH - depth, break_on_hyphens=False):
        yield f"{' ' * depth}# {line}"
