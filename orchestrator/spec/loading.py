"""Read a sweep file: YAML with places, dotted overrides, and errors that name file, line, field and mend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import SpecError
from orchestrator.plugins.loading import load
from orchestrator.progress import Say, silent
from orchestrator.spec.own_training import beside
from orchestrator.spec.plugin_words import check_pinned, find_plugins, plugin_label
from orchestrator.spec.reading.complaints import Source, explain, refuse_booleans
from orchestrator.spec.reading.shipped import nearest_sweep, sweep_file
from orchestrator.spec.reading.yaml_text import PathKey, read_value, read_yaml
from orchestrator.spec.sweep import SweepSpec

# Sections that a file may give as a single word, and the field which that word stands for.
_SHORT_FORMS = {"entrypoint": "function", "model": "path", "objective": "metric", "searcher": "kind"}


def load_sweep(path: str | Path, overrides: Sequence[str] = (), say: Say = silent) -> SweepSpec:
    """Read and check a sweep file. Code of your own that it names (``FILE.py:NAME``) is imported, to check its options.

    Args:
        path: YAML file, or the name of one that comes with the package (``quickstart``).
        overrides: ``dotted.key=value`` texts; values are read as YAML.
        say: Told of each plug-in before its code is run.

    Raises:
        SpecError: With file, line, field, value, rule and mend of the first problem.
    """
    file = sweep_file(path)
    if not file.exists() and len(Path(path).parts) == 1 and (hint := nearest_sweep(path)):
        raise SpecError(
            str(file), rule="there is no such file, and no sweep file of that name comes with the package", mend=hint
        )
    values, lines = read_yaml(file)
    overridden = {apply_override(values, text) for text in overrides}
    values = with_plugins(values, file.resolve().parent, str(file), say)
    spec = parse_sweep(values, str(file), lines, overridden)
    if spec.entrypoint is None:
        return spec
    return spec.model_copy(update={"entrypoint": beside(spec.entrypoint, file)})


def with_plugins(
    values: Mapping[str, object], folder: Path, where: str, say: Say = silent, known: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Load the plug-ins that raw values name, and return the values with their digests.

    Args:
        values: As read from YAML.
        folder: Where relative files are meant from.
        where: The sweep file, for messages.
        say: Told of each before its code is run.
        known: Digests of plug-ins that have been loaded from elsewhere: they are not looked for again.

    Raises:
        PluginError: If one is missing, raises when it is imported, or is not the text that the values pin.
    """
    codes = find_plugins(values, folder, where, known or {})
    pinned = values.get("plugins")
    if known is None:
        check_pinned(codes, pinned if isinstance(pinned, Mapping) else {}, where)
    for code in codes:
        say(f"Importing {code.kind.replace('_', ' ')} {code.reference} from {code.place} ...")
        load(code)
    found = {**(known or {}), **{plugin_label(code): code.digest for code in codes}}
    return {**values, "plugins": found} if found else dict(values)


def parse_sweep(
    values: Mapping[str, object],
    where: str = "sweep",
    lines: Mapping[PathKey, int] | None = None,
    overridden: Iterable[PathKey] = (),
) -> SweepSpec:
    """Check plain values against the sweep schema; errors as in `load_sweep`."""
    source = Source(where, lines or {}, frozenset(overridden))
    for key in values:
        if not isinstance(key, str):
            raise SpecError(source.place((str(key),)), rule=f"a key must be text, got {key!r}")
    refuse_booleans(values, SweepSpec, source)
    try:
        return SweepSpec.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, source, SweepSpec) from None


def apply_override(values: dict[str, Any], text: str) -> PathKey:
    """Set one dotted key in place and return its path.

    Raises:
        SpecError: If the text is not ``dotted.key=value`` or leads through something that is not a mapping.
    """
    field, sign, raw = (part.strip() for part in text.partition("="))
    keys = field.split(".")
    if not sign or not all(keys):
        raise SpecError("--set", value=text, rule="an override is dotted.key=value", mend="e.g. --set budget.trials=8")
    try:
        value = read_value(raw)
    except ValueError as error:
        raise SpecError("--set", field, raw, f"the value is not YAML ({error})", "put quotes round it") from None
    place: Any = values
    for depth, key in enumerate(keys[:-1]):
        if depth == 0 and key in _SHORT_FORMS and isinstance(place.get(key), str):
            place[key] = {_SHORT_FORMS[key]: place[key]}
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if isinstance(place, list):
            raise SpecError(
                "--set",
                field,
                raw,
                f"an override cannot reach into a list ('{'.'.join(keys[: depth + 1])}')",
                "set the whole list",
            )
        if not isinstance(place, dict):
            raise SpecError("--set", field, raw, f"'{key}' holds {place!r} and has no fields of its own")
    place[keys[-1]] = value
    return tuple(keys)
