"""Where the paths of a sweep lead that was run in another folder, or whose storage folder was moved or copied since."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.history.journal_state import JournalState
from orchestrator.tracking.mlflow.sqlite_store import database_file

_WORDS = frozenset({"auto", "default", "held_out", "testbed"})
_ENDINGS = frozenset({".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".jinja", ".gz", ".zst"})


@dataclass(frozen=True)
class Whereabouts:
    """Finds the files that a sweep named when it was last run.

    A path is looked for where it was; then where it is if everything around the storage folder was moved or copied
    together, that is, as far from the storage as it was; then from the present folder.

    Args:
        folder: Folder in which the sweep was run; empty: unknown.
        stored: Its storage folder then; empty: unknown.
        storage: Its storage folder now; None: unknown.
        where: Names the sweep in messages; empty: what is not found is left as it is.
    """

    folder: str = ""
    stored: str = ""
    storage: Path | None = None
    where: str = ""

    @classmethod
    def of(cls, state: JournalState, folder: str | None = None) -> Whereabouts:
        """Return those of a sweep that is read back.

        Args:
            state: The sweep.
            folder: Where it was run; default: where its latest session was.
        """
        ran = state.session.folder if folder is None else folder
        return cls(ran, _stored(state), state.folder.storage.resolve(), str(state.folder.root))

    def find(self, text: str) -> str:
        """Return a path, or a source that may name a part of itself after a colon, as it can be read from here.

        Hub ids and words such as ``testbed:sft`` stay what they are.

        Raises:
            InputError: If it is a path and there is nothing in any of the places.
        """
        place, colon, part = text.partition(":")
        if not place or text in _WORDS or place in _WORDS:
            return text
        places = self.places(place)
        found = next((each for each in places if each.exists()), None)
        if found is None:
            if self.where and _is_path(place):
                raise InputError(
                    self.where,
                    value=text,
                    rule=f"this sweep read it, and it is gone; looked for {_listed(places)}",
                    mend="put it back, or run the command in a folder from which that path leads there",
                )
            return text
        same = not Path(place).is_absolute() and found.resolve() == Path(place).resolve()
        return text if same or found == Path(place) else f"{found}{colon}{part}"

    def places(self, text: str) -> list[Path]:
        """Return where a path may be now, the likeliest first."""
        path = Path(text)
        if not self.folder and not path.is_absolute():
            return [path]
        then = Path(os.path.normpath(Path(self.folder) / path))
        found = [then]
        if self.stored and self.storage is not None:
            found.append(Path(os.path.normpath(self.storage / os.path.relpath(then, self.stored))))
        return list(dict.fromkeys([*found, path]))


def _stored(state: JournalState) -> str:
    """Return the storage folder in which a sweep was last run; older versions tell it by its MLflow store alone."""
    if state.session.storage:
        return state.session.storage
    file = database_file((state.session.tracking or {}).get("uri", ""))
    return "" if file is None or file.name != "mlflow.db" else str(file.parent)


def _is_path(text: str) -> bool:
    return Path(text).is_absolute() or text.startswith((".", "~")) or Path(text).suffix in _ENDINGS


def _listed(places: list[Path]) -> str:
    return ", ".join(str(place) for place in places)
