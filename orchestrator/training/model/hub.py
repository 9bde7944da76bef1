"""Whether the model and data hub can be reached, and data sets from it or from a saved folder."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import DataError, nearest
from orchestrator.training.model.paths import nearest_path

if TYPE_CHECKING:
    from datasets import Dataset

_CONNECT_SECONDS = 5.0


@functools.cache
def is_reachable() -> bool:
    """Whether the hub answers; asked once per process.

    The hub's own client retries for half a minute before it gives up, once for every file.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _only_cached(offline: bool) -> Iterator[None]:
    """Make the data set library use its cache alone, without a retry."""
    import datasets
    import huggingface_hub

    places = [(datasets.config, "HF_HUB_OFFLINE"), (huggingface_hub.constants, "HF_HUB_OFFLINE")]
    before = [getattr(module, name) for module, name in places]
    try:
        if offline:
            for module, name in places:
                setattr(module, name, True)
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)


def load_hub_data(reference: str, split: str) -> Dataset:
    """Load one split of a data set from the hub (or from its local cache when the hub is out of reach).

    Args:
        reference: ``owner/name``, or ``owner/name:config`` for one of several configurations.
        split: Name of the split.

    Returns:
        A ``datasets.Dataset``. Code that a data set repository brings is never run.

    Raises:
        DataError: If there is no such data set, configuration or split, or the hub is out of reach.
    """
    import datasets

    datasets.disable_progress_bars()
    name, _, config = reference.partition(":")
    online = is_reachable()
    try:
        with _only_cached(not online):
            return datasets.load_dataset(name, config or None, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if online:
            rule = f"cannot be loaded from the hub: {_first_line(error)}"
            raise DataError(
                reference, rule=rule, mend="check the id, its configuration (ID:CONFIG) and the split"
            ) from error
        rule = "is no file or folder here, and as a hub id it is neither cached nor can the hub be reached"
        mend = nearest_path(Path(name)) or "give a local file or folder, or connect to the network"
        raise DataError(reference, rule=rule, mend=mend) from error


def load_saved_data(folder: Path, split: str) -> Dataset:
    """Load one split of a folder written by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``.

    Raises:
        DataError: If the folder is damaged or has no such split.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(str(folder), rule=f"is not a readable saved data set: {_first_line(error)}") from error
    if not isinstance(saved, datasets.DatasetDict):
        return saved
    if split not in saved:
        rule = f"has no such split; it has {', '.join(saved)}"
        raise DataError(str(folder), "split", split, rule, nearest(split, saved))
    return saved[split]


def rows_of(data: Dataset, places: Sequence[int]) -> list[dict[str, object]]:
    """Return the rows of a ``datasets.Dataset`` at some positions, class labels by their names."""
    import datasets

    part = data if len(places) == len(data) else data.select(places)
    rows: list[dict[str, Any]] = part.to_list()
    for column, feature in data.features.items():
        if isinstance(feature, datasets.ClassLabel):
            for row in rows:
                if row[column] is not None and row[column] >= 0:
                    row[column] = feature.int2str(row[column])
    return rows


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__
