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


def shipped_files(kind: Kind) -> dict[str, Path]:
    """Return the shipped files by name: folders included, without ending (``recorded/dolly_full``).

    A folder that only gathers files whose names begin with its own is no part of their names:
    ``secret_recipe/granite_7b/granite_7b_lab.yaml`` is ``secret_recipe/granite_7b_lab``.
    """
    folder = shipped_folder(kind)
    return {_name(file.relative_to(folder).with_suffix("")): file for file in sorted(folder.rglob("*.yaml"))}


def _name(place: Path) -> str:
    gathered = place.parent.name and place.name.startswith(f"{place.parent.name}_")
    return (place.parent.parent / place.name if gathered else place).as_posix()


def sweep_file(word: str | Path) -> Path:
    """Return the file that a word means: a path that exists, or else the shipped sweep file of that name."""
    path = Path(word)
    if path.exists() or path.is_absolute():
        return path
    return shipped_files("search_spaces").get(
        path.as_posix().removeprefix("search_spaces/").removesuffix(".yaml"), path
    )


def nearest_sweep(word: str | Path) -> str:
    """Return a hint at the shipped sweep file that a word may have meant; empty without one."""
    return nearest(Path(word).stem, list(shipped_files("search_spaces")))
