"""Sweep files and cluster profiles that come with the package: found beside it in the repository, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from orchestrator.errors import nearest

Kind = Literal["search_spaces", "clusters"]

_PACKAGE = Path(__file__).resolve().parents[2]
_PLACES = (_PACKAGE.parent, _PACKAGE / "shipped")


def shipped_folder(kind: Kind) -> Path:
    """Return the folder of the shipped files of a kind; it is empty or missing where none came along."""
    # The repository's own folders, and not whatever lies beside an installed package.
    in_repository = (_PACKAGE.parent / "pyproject.toml").is_file()
    return _PLACES[0 if in_repository else 1] / kind


def shipped_names(kind: Kind) -> list[str]:
    """Return the names of the shipped files, folders included (``recorded/dolly_full``), without their ending."""
    folder = shipped_folder(kind)
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))


def sweep_file(word: str | Path) -> Path:
    """Return the file that a word means: a path that exists, or else the shipped sweep file of that name."""
    path = Path(word)
    if path.exists() or path.is_absolute():
        return path
    name = path.as_posix().removeprefix("search_spaces/").removesuffix(".yaml")
    return shipped_folder("search_spaces") / f"{name}.yaml" if name in shipped_names("search_spaces") else path


def nearest_sweep(word: str | Path) -> str:
    """Return a hint at the shipped sweep file that a word may have meant; empty without one."""
    return nearest(Path(word).stem, shipped_names("search_spaces"))
