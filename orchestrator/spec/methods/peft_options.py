"""Options that are fields of peft's configs, read from a file beside this one: peft itself is never imported here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NotRequired, TypedDict

from orchestrator.spec.options.option import OptionInfo

FIELDS_FILE = Path(__file__).with_name("peft_fields.json")
"""Fields of peft's configs, written by orchestrator.training.methods.adapters.refresh_peft_fields."""


@cache
def peft_options(config: str) -> Mapping[str, OptionInfo]:
    """Return the options of a peft config by name, all that a sweep may set."""
    return {name: _option(raw) for name, raw in _configs()[config].items()}


class _Field(TypedDict):
    """One field as the file holds it."""

    kinds: list[str]
    default: object
    choices: NotRequired[list[object]]
    nested: NotRequired[_Nested]


class _Nested(TypedDict):
    config: str
    fields: dict[str, _Field]


@cache
def _configs() -> dict[str, dict[str, _Field]]:
    configs: dict[str, dict[str, _Field]] = json.loads(FIELDS_FILE.read_text(encoding="utf-8"))["configs"]
    return configs


def _option(raw: _Field) -> OptionInfo:
    fields = {name: _option(inner) for name, inner in raw["nested"]["fields"].items()} if "nested" in raw else {}
    return OptionInfo(tuple(raw["kinds"]), raw["default"], tuple(raw.get("choices", ())), fields=fields)
