"""In what compared sweeps differ: fields of their resolved files, their inputs, and the data of their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.history.journal_facts import sweep_content
from orchestrator.history.journal_state import JournalState

_NAMES = frozenset({"name", "record"})


@dataclass(frozen=True)
class FieldDifference:
    """A field of the resolved sweep files, or an input, in which the sweeps differ; None where one lacks it."""

    field: str
    values: tuple[object, ...]


def field_differences(states: Sequence[JournalState]) -> tuple[FieldDifference, ...]:
    """Return every dotted field, and every input's digest, that is not the same in all sweeps."""
    leaves = [dict(_leaves(_content(state), "")) for state in states]
    names = dict.fromkeys(name for found in leaves for name in found)
    rows = [FieldDifference(name, tuple(found.get(name) for found in leaves)) for name in names]
    return tuple(row for row in rows if differ(row.values))


def score_warnings(states: Sequence[JournalState], metrics: Iterable[str]) -> tuple[str, ...]:
    """Say in which ways metrics of the same name were measured on different data or of different models."""
    found = []
    for name in sorted({metric.split("/")[0] for metric in metrics}):
        entries = [next((e for e in state.spec.evaluation if e.name == name), None) for state in states]
        if differ(entries):
            found.append(f"the evaluation set {name!r} is not the same")
        elif any(entry is not None and entry.data == "held_out" for entry in entries) and differ(
            map(_held_out, states)
        ):
            found.append(f"the evaluation set {name!r} is held out of training data that are not the same")
    if any(state.spec.entrypoint is not None for state in states):
        if differ(state.first.inputs for state in states):
            found.append("the training code or what it reads is not the same")
    elif differ(state.first.inputs.get("base model") for state in states):
        found.append("the base models are not the same; losses per token of different tokenizers do not compare")
    return tuple(found)


def differ(values: Iterable[object]) -> bool:
    """Whether not all values are equal."""
    found = list(values)
    return any(value != found[0] for value in found[1:])


def _held_out(state: JournalState) -> tuple[object, ...]:
    """Return what decides which rows are held out."""
    data = state.spec.data
    return (state.first.inputs.get("training data"), data.held_out, data.split_seed)


def _content(state: JournalState) -> dict[str, object]:
    content = {key: value for key, value in sweep_content(state.records).items() if key not in _NAMES}
    return {**content, "digest": dict(state.first.inputs)}


def _leaves(values: Mapping[str, object], prefix: str) -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
