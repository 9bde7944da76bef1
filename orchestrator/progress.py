"""How functions of this package tell a person how far they are."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Receives a line of text."""


def silent(text: str) -> None:
    """Say nothing."""
