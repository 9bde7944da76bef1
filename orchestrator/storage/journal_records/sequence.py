"""The records of one journal in their order, asked for by class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from orchestrator.errors import StorageError
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.kinds import class_of, read_record

Line = dict[str, Any]
Kind = TypeVar("Kind", bound=JournalRecord)
Other = TypeVar("Other", bound=JournalRecord)


class JournalRecords(Sequence[JournalRecord]):
    """Records in the order in which they were written.

    A line becomes a record when it is first asked for: most readers want few of the many thousand.

    Args:
        path: The journal, named in messages.
        items: Its lines from the first on, or records of them.
    """

    def __init__(self, path: Path, items: Iterable[Line | JournalRecord] = ()) -> None:
        self._path = path
        self.items: list[Line | JournalRecord] = list(items)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> JournalRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[JournalRecord]: ...
    def __getitem__(self, index: int | slice) -> JournalRecord | list[JournalRecord]:
        """Return one of them, or several.

        Raises:
            StorageError: If a line lacks what its kind must have.
        """
        if isinstance(index, slice):
            return [self._at(each) for each in range(*index.indices(len(self.items)))]
        return self._at(range(len(self.items))[index])

    def __iter__(self) -> Iterator[JournalRecord]:
        """All of them in order."""
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        """Whether two journals tell the same."""
        return isinstance(other, JournalRecords | list) and self[:] == other[:]

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        """All records."""
        return repr(self[:])

    def of(self, *kinds: type[Kind]) -> Iterator[Kind]:
        """Yield the records of some kinds in order."""
        return self._of(range(len(self.items)), kinds)

    def first(self, kind: type[Kind]) -> Kind | None:
        """Return the first record of a kind."""
        return next(self.of(kind), None)

    @overload
    def last(self, kind: type[Kind], /) -> Kind | None: ...
    @overload
    def last(self, kind: type[Kind], other: type[Other], /) -> Kind | Other | None: ...
    @overload
    def last(self, *kinds: type[JournalRecord]) -> JournalRecord | None: ...
    def last(self, *kinds: type[JournalRecord]) -> JournalRecord | None:
        """Return the latest record of some kinds."""
        return next(self._of(range(len(self.items) - 1, -1, -1), kinds), None)

    @property
    def latest_epoch(self) -> int:
        """The newest driver that wrote; 0 for an empty journal."""
        return max((each.get("epoch", 0) if isinstance(each, dict) else each.epoch for each in self.items), default=0)

    def with_more(self, items: Iterable[Line | JournalRecord]) -> JournalRecords:
        """Return these records and further ones; these stay as they are."""
        return JournalRecords(self._path, [*self.items, *items])

    def _of(self, order: Iterable[int], kinds: tuple[type[Kind], ...]) -> Iterator[Kind]:
        for index in order:
            item = self.items[index]
            if isinstance(item, dict):
                if class_of(item) not in kinds:
                    continue
                item = self._at(index)
            if isinstance(item, kinds):
                yield item

    def _at(self, index: int) -> JournalRecord:
        item = self.items[index]
        if isinstance(item, dict):
            try:
                item = read_record(item)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise StorageError(
                    f"{self._path}:{index + 1}",
                    rule=f"this version cannot read this line of the journal ({error})",
                    mend="read it with the version that wrote it",
                ) from error
            self.items[index] = item
        return item
