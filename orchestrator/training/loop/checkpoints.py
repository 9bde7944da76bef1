"""A trial's checkpoint on disk: a folder of safetensors and JSON, complete or not there.

``weights.safetensors``
    what the method says must be kept (all weights under full fine-tuning, the adapter under an adapter)
``optimizer.safetensors``
    the optimizer's tensors, named ``<parameter index>/<entry>``
``state.json``
    position, counters, random states, and the optimizer's plain numbers
``manifest.json``
    written last: size and SHA-256 of each of the above

Everything is written to a temporary folder beside, flushed to disk and renamed, so a crash leaves either
the whole checkpoint or none. Nothing is pickled: opening a checkpoint runs no code.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor
from torch.optim import Optimizer

from orchestrator.errors import CheckpointError
from orchestrator.training.loop.links import link_or_copy

WEIGHTS, OPTIMIZER, STATE, MANIFEST = "weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
FORMAT = 1


Plain = None | bool | int | float | str | list["Plain"]
"""A JSON value without names, as an optimizer keeps beside its tensors."""


class OptimizerState(TypedDict, total=False):
    """A `state_dict` of `torch.optim.Optimizer`; empty where a checkpoint is read without its optimizer."""

    state: dict[int, dict[str, Tensor | Plain]]
    param_groups: list[dict[str, Any]]


class PlainState(TypedDict):
    """What an optimizer keeps beside its tensors."""

    numbers: dict[str, dict[str, Plain]]
    param_groups: list[dict[str, Plain]]


class FileEntry(TypedDict):
    """What the manifest says of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Attributes:
        weights: Name to tensor.
        optimizer: A `state_dict` of `torch.optim.Optimizer`.
        state: JSON values.
    """

    weights: dict[str, Tensor]
    optimizer: OptimizerState
    state: dict[str, Any]


def save_checkpoint(
    folder: Path, weights: Mapping[str, Tensor], optimizer: Optimizer, state: Mapping[str, object]
) -> None:
    """Write a checkpoint to ``folder``, replacing one that is there.

    Raises:
        CheckpointError: If the optimizer keeps something that is neither a tensor nor a JSON value.
        OSError: If the folder cannot be written; then nothing is left behind.
    """
    tensors, plain = _split_optimizer(optimizer.state_dict())
    body = {"format": FORMAT, **state, "optimizer": plain}
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _write_tensors(draft / WEIGHTS, weights)
        _write_tensors(draft / OPTIMIZER, tensors)
        (draft / STATE).write_bytes(_json(body))
        files = _flush_and_describe([draft / name for name in (WEIGHTS, OPTIMIZER, STATE)])
        (draft / MANIFEST).write_bytes(_json({"format": FORMAT, "files": files}))
        _flush(draft / MANIFEST)
        _put_in_place(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and check it against its manifest.

    Raises:
        CheckpointError: If a file is missing, cut short or changed, or the format is another one.
    """
    contents = {name: _read(folder, name, entry) for name, entry in _manifest(folder).items()}
    if missing := {WEIGHTS, OPTIMIZER, STATE} - contents.keys():
        raise CheckpointError(f"checkpoint {folder}: the manifest does not name {', '.join(sorted(missing))}")
    try:
        state = json.loads(contents[STATE])
        weights, tensors = load(contents[WEIGHTS]), load(contents[OPTIMIZER])
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
    return Checkpoint(weights, _join_optimizer(tensors, state.pop("optimizer")), state)


def load_weights(folder: Path) -> Checkpoint:
    """Read a checkpoint without its optimizer, which need not be there (`keep_weights`).

    Raises:
        CheckpointError: As `load_checkpoint`.
    """
    entries = _manifest(folder)
    if missing := {WEIGHTS, STATE} - entries.keys():
        raise CheckpointError(f"checkpoint {folder}: the manifest does not name {', '.join(sorted(missing))}")
    try:
        state = json.loads(_read(folder, STATE, entries[STATE]))
        weights = load(_read(folder, WEIGHTS, entries[WEIGHTS]))
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
    return Checkpoint(weights, {}, state)


def keep_weights(folder: Path, place: Path) -> None:
    """Keep a checkpoint's weights beyond the checkpoint itself, whole or not at all; linked where the storage can.

    Args:
        folder: The checkpoint.
        place: What `load_weights` will read; replaced if it is there.

    Raises:
        OSError: If it cannot be written; then nothing is left behind.
    """
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        for name in (WEIGHTS, STATE, MANIFEST):
            link_or_copy(folder / name, draft / name)
        _put_in_place(draft, place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def complete_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` holds a whole checkpoint, by manifest and file sizes (contents are checked on loading)."""
    try:
        entries = _manifest(folder)
    except CheckpointError:
        return False
    return all(_size(folder / name) == entry["bytes"] for name, entry in entries.items())


def load_optimizer(optimizer: Optimizer, saved: OptimizerState) -> None:
    """Put a saved state into an optimizer with the same parameter groups.

    Raises:
        CheckpointError: If the groups do not fit.
    """
    current = optimizer.state_dict()["param_groups"]
    groups = [dict(group) for group in saved["param_groups"]]
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in current]:
        raise CheckpointError("the checkpoint's optimizer has other parameter groups than the trial's")
    for group, now in zip(groups, current, strict=True):
        # JSON knows no tuples; torch's kernels do not care, but a resumed trial should equal a fresh one.
        group.update({key: tuple(value) for key, value in group.items() if isinstance(now.get(key), tuple)})
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _split_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], PlainState]:
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Plain]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = _plain(value, f"state {key!r}")
    groups = [
        {key: _plain(value, f"option {key!r}") for key, value in group.items()} for group in state["param_groups"]
    ]
    return tensors, {"numbers": numbers, "param_groups": groups}


def _join_optimizer(tensors: Mapping[str, Tensor], plain: PlainState) -> OptimizerState:
    state: dict[int, dict[str, Tensor | Plain]] = {
        int(index): dict(values) for index, values in plain["numbers"].items()
    }
    for name, tensor in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    return {"state": state, "param_groups": plain["param_groups"]}


def _plain(value: object, what: str) -> Plain:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(entry, what) for entry in value]
    raise CheckpointError(f"the optimizer's {what} is a {type(value).__name__}, which a checkpoint cannot hold")


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that safetensors takes: on the CPU, dense, and no two sharing memory."""
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ready = tensor.detach().to("cpu").contiguous()
        place = ready.untyped_storage().data_ptr()
        result[name] = ready.clone() if place in seen else ready
        seen.add(place)
    return result


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, indent=1).encode()


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        save_file(_storable(tensors), path)
    except SafetensorError as error:
        # The Rust library hides the system's error number in its text; callers tell a full disk by it.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, f"cannot be written: {error}", str(path)) from error


def _flush_and_describe(paths: Sequence[Path]) -> dict[str, FileEntry]:
    """Flush files to disk and return their sizes and digests; the disk works while the digests are computed."""
    with ThreadPoolExecutor(max_workers=len(paths)) as pool:
        flushes = [pool.submit(_flush, path) for path in paths]
        entries = {path.name: _describe(path) for path in paths}
        for flush in flushes:
            flush.result()
    return entries


def _describe(path: Path) -> FileEntry:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _flush(path: Path) -> None:
    """Bring a file's contents, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(draft: Path, folder: Path) -> None:
    _flush(draft)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        draft.rename(folder)
    _flush(folder.parent)


def _manifest(folder: Path) -> dict[str, FileEntry]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files: dict[str, FileEntry] = manifest["files"]
        formats = {manifest["format"]}
        sound = all(isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str) for entry in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {folder} has no readable {MANIFEST}: {error}") from error
    if formats != {FORMAT} or not sound:
        raise CheckpointError(f"checkpoint {folder} has format {formats}, this version reads {FORMAT}")
    return files


def _read(folder: Path, name: str, entry: FileEntry) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {folder}: {name} cannot be read: {error}") from error
    if len(content) != entry["bytes"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"checkpoint {folder}: {name} is not what the manifest says (damaged or changed)")
    return content


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
