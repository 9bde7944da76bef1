"""Options that are fields of peft's configs, read from a file beside this one: peft itself is never imported here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.spec.options.option import OptionInfo

FIELDS_FILE = Path(__file__).with_name("peft_fields.json")
"""Fields of peft's configs, written by orchestrator.training.methods.adapters.refresh_peft_fields."""


@cache
def peft_options(config: str) -> Mapping[str, OptionInfo]:
    """Return the options of a peft config by name, all that a sweep may set."""
    return {name: _option(raw) for name, raw in _configs()[config].items()}


@cache
def _configs() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    configs: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(FIELDS_FILE.read_text(encoding="utf-8"))[
        "configs"
    ]
    return configs


def _option(raw: Mapping[str, Any]) -> OptionInfo:
    nested = raw.get("nested", {}).get("fields", {})
    fields = {name: _option(inner) for name, inner in nested.items()}
    return OptionInfo(tuple(raw["kinds"]), raw["default"], tuple(raw.get("choices", ())), fields=fields)
