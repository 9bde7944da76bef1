"""Configurations of well-known base models, without weights: what ``validate`` and ``plan`` need of them."""

from __future__ import annotations

from pathlib import Path

ARCHITECTURES: dict[str, str] = {
    "ibm-granite/granite-3b-code-base-2k": "granite-3b",
    "ibm-granite/granite-7b-base": "granite-7b",
    "meta-llama/Llama-3.2-3B": "llama-3.2-3b",
    "mistralai/Mistral-7B-v0.1": "mistral-7b",
}
"""Hub id -> folder beside this file. ``README.md`` there says where the sizes are from."""


def architecture_folder(path: str) -> Path | None:
    """Return the folder of a shipped configuration, or None where none is shipped for this hub id."""
    name = ARCHITECTURES.get(path)
    return None if name is None else Path(__file__).parent / name
