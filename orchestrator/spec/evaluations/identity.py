"""What of an evaluation set is part of a sweep's identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from orchestrator.settings.evaluation import EvaluationSet
from orchestrator.spec.evaluations.kinds import evaluation_kind

LATER_FIELDS = tuple(
    field.name
    for field in fields(EvaluationSet)
    if field.name not in ("name", "kind", "data", "format", "columns", "limit", "max_new_tokens", "when")
)
"""Fields that came later: where they have their defaults a sweep's identity leaves them out, so that earlier ones resume."""


def defining_set(entry: Mapping[str, object]) -> dict[str, object]:
    """Return an evaluation set without later fields at their defaults, and without what changes no score."""
    default = asdict(EvaluationSet(str(entry["name"])))
    return without_patience({k: v for k, v in entry.items() if k not in LATER_FIELDS or v != default[k]})


def without_patience(values: Mapping[str, object]) -> dict[str, object]:
    """Return a set's values without those fields of its sections that change no score, as a judge's time limit."""
    kept = dict(values)
    for section, no_matter in evaluation_kind(str(values.get("kind", EvaluationSet.kind))).no_matter.items():
        given = kept.get(section)
        if isinstance(given, dict):
            kept[section] = {name: value for name, value in given.items() if name not in no_matter}
    return kept
