"""Names that are imported at their first use: the public ones of a package (PEP 562), and those that tables refer to.

A package writes ``__getattr__, __dir__, __all__ = attach(__name__)``. What it offers stands in the ``__init__.pyi``
beside it, as ``from MODULE import NAME`` alone: type checkers and editors read the same lines.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def attach(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package by what its stub lists."""
    namespace = sys.modules[package].__dict__
    homes = _homes(Path(str(namespace["__file__"])).with_suffix(".pyi"))

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(homes[name]), name)
        return value

    return get, lambda: sorted({*namespace, *homes}), sorted(homes)


def load(reference: object) -> object:
    """Return what ``module:NAME`` refers to; anything but a text is returned as it is.

    Tables refer to code in this way, so that reading them imports none of it.
    """
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    found: object = getattr(import_module(module), name)
    return found


def _homes(stub: Path) -> dict[str, str]:
    """Return the module that each name of a stub is imported from."""
    lines = ast.parse(stub.read_text(encoding="utf-8")).body
    imports = [line for line in lines if isinstance(line, ast.ImportFrom) and line.module]
    return {alias.name: str(line.module) for line in imports for alias in line.names}
