"""What decides scores, told by files alone: code, libraries, base model, data, settings and checkpoint, nothing loaded.

Cruder than the keys of `score_cache`, which go by what is computed with: here any touched content of a file that might
matter makes another key. What files cannot tell raises `NotInFilesError`, and the scores' own keys decide.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrialSetup
from orchestrator.spec.evaluations.entry import SourceField
from orchestrator.spec.evaluations.kinds import kind_of
from orchestrator.testbed.sources import base_model_path
from orchestrator.training.data.sources import FileSource, SavedSource, TaxonomySource, TestbedSource, open_source
from orchestrator.training.evaluations.scoring.file_digests import FileDigests

_CODE = ("training", "testbed", "settings", "records.py")
_LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "safetensors",
    "numpy",
    "jinja2",
    "datasets",
    "pyarrow",
    "lm-eval",
    "nltk",
    "langdetect",
)
_NEVER_READ = frozenset({".bin", ".pt", ".pth", ".msgpack", ".h5", ".gguf", ".onnx", ".md"})
_TEMPLATE_WORDS = frozenset({"auto", "default"})
_NO_MATTER = ("name", "when", "detached")
_COMMIT_LENGTH = 40


class NotInFilesError(Exception):
    """Something that decides scores cannot be told from files here."""


def shared_part(setup: TrialSetup, device: str, digests: FileDigests) -> list[object]:
    """Return what decides the scores of every model of a setup on every set, as JSON values.

    Args:
        setup: Model, data and training settings; paths as they can be read from here.
        device: As asked for: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        digests: Of files.

    Raises:
        NotInFilesError: If model or data are not files, or not all of them.
        OSError: If a file cannot be read.
    """
    return [
        _code(),
        _versions(),
        _device(device),
        asdict(setup.training),
        _model_part(setup.model, digests),
        _data_part(setup.data, digests),
    ]


def set_part(entry: EvaluationSet, data: DataSettings, digests: FileDigests) -> dict[str, object]:
    """Return what decides scores on one set beyond the shared part.

    Raises:
        NotInFilesError: If its rows come from the hub, from tasks of lm-eval, or depend on this machine.
        OSError: If a file cannot be read.
    """
    kind = kind_of(entry)
    if reason := kind.not_in_files(entry):
        raise NotInFilesError(reason)
    values = {name: value for name, value in asdict(entry).items() if name not in _NO_MATTER}
    for field in kind.sources:
        section, name = _section(values, field)
        if section[name] != field.unless:
            section[name] = _source(section[name], field.split or data.split, digests)
    return values


def _section(values: dict[str, Any], field: SourceField) -> tuple[dict[str, Any], str]:
    """Return the part of a set's values that a field stands in, and its name there."""
    *sections, name = field.path
    for section in sections:
        values = values[section]
    return values, name


def folder_part(folder: Path, digests: FileDigests, leave_out: str = "") -> list[list[str]]:
    """Return names and digests of all files of a folder, such as a checkpoint, but those of one name.

    Raises:
        NotInFilesError: If there are none.
        OSError: If one cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != leave_out)
    if not files:
        raise NotInFilesError(f"{folder} is empty")
    return [[str(path.relative_to(folder)), digests.of(path)] for path in files]


@functools.cache
def _code() -> str:
    """Return a digest of the code of this package that scores, so that a mended scorer scores again."""
    root = Path(__file__).parents[3]
    places = [root / name for name in _CODE]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    total = hashlib.blake2b(digest_size=16)
    for file in files:
        content = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
        total.update(f"{file.relative_to(root)}\0".encode() + content)
    return total.hexdigest()


@functools.cache
def _versions() -> list[str]:
    return [f"{name} {_version(name)}" for name in _LIBRARIES]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def _device(asked: str) -> list[str]:
    """Return what decides on which kind of device is computed, without asking torch."""
    accelerators = [path.name for pattern in ("nvidia[0-9]*", "dxg", "kfd") for path in Path("/dev").glob(pattern)]
    if asked == "cpu" or (asked == "auto" and (not accelerators or _version("torch").endswith("+cpu"))):
        return ["cpu"]
    masks = [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")]
    return [asked, *sorted(accelerators), *masks]


def _model_part(model: ModelSettings, digests: FileDigests) -> list[object]:
    if model.trust_remote_code:
        raise NotInFilesError("code of a model repository may come from another one")
    chosen = model.chat_template
    template = chosen if chosen in _TEMPLATE_WORDS else [digests.of(Path(chosen).expanduser())]
    return [model.attention, template, _weights_part(model, digests)]


def _weights_part(model: ModelSettings, digests: FileDigests) -> list[object]:
    folder = base_model_path() if model.path == "testbed" else Path(model.path).expanduser()
    if not folder.is_dir():
        return ["hub", model.path, _commit(model)]
    if (folder / "adapter_config.json").exists():
        raise NotInFilesError("an adapter names another model")
    templates = folder / "additional_chat_templates"
    files = [*folder.iterdir(), *(templates.iterdir() if templates.is_dir() else ())]
    read = sorted(path for path in files if path.is_file() and _is_read(path))
    return [[path.name, digests.of(path)] for path in read]


def _is_read(path: Path) -> bool:
    return path.suffix not in _NEVER_READ and not path.name.startswith(".")


def _commit(model: ModelSettings) -> str:
    """Return the commit of a hub model as it was last downloaded."""
    revision = model.revision or "main"
    if len(revision) == _COMMIT_LENGTH and all(letter in "0123456789abcdef" for letter in revision):
        return revision
    from huggingface_hub import constants

    name = f"models--{model.path.replace('/', '--')}"
    return (Path(constants.HF_HUB_CACHE) / name / "refs" / revision).read_text(encoding="utf-8").strip()


def _data_part(data: DataSettings, digests: FileDigests) -> dict[str, object]:
    values = asdict(data)
    del values["expected"]
    if data.train:
        values["train"] = _source(data.train, data.split, digests)
    if isinstance(data.held_out, str):
        values["held_out"] = _source(data.held_out, data.split, digests)
    for part in (*values["phases"], *values["mixture"]):
        if part["train"]:
            part["train"] = _source(part["train"], data.split, digests)
    return values


def _source(reference: str, split: str, digests: FileDigests) -> list[object]:
    try:
        source = open_source(reference, split)
    except DataError as error:
        raise NotInFilesError(str(error)) from error
    match source:
        case TestbedSource():
            return ["testbed", source.reference]
        case TaxonomySource():
            return ["taxonomy", [[str(path.relative_to(source.root)), digests.of(path)] for path in source.files]]
        case SavedSource():
            return ["saved", source.split, folder_part(source.folder, digests)]
        case FileSource():
            return ["files", _named(source.files, digests)]
    raise NotInFilesError(f"{reference} is on the hub")


def _named(files: Sequence[Path], digests: FileDigests) -> list[list[str]]:
    return [[path.name, digests.of(path)] for path in files]
