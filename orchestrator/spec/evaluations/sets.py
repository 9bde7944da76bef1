"""The evaluation sets of a sweep file: what may stand together in one, and which metrics it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from orchestrator.errors import SpecError, nearest
from orchestrator.settings.evaluation import EvaluationSet
from orchestrator.spec.evaluations.kinds import KINDS, kind_of
from orchestrator.spec.options.declared import checked_options

_COMMON = ("name", "kind", "when", "detached", "options")


def metrics_of(entry: EvaluationSet) -> list[str]:
    """Return the names of the metrics that a set gives, as far as they can be told without its tasks."""
    kind = kind_of(entry)
    left_out = kind.left_out(entry)
    return [f"{entry.name}/{metric}" for metric in kind.metrics if metric not in left_out]


def may_give(entry: EvaluationSet, metric: str) -> bool:
    """Whether a set gives a metric; of a kind with tasks, whether the name has the form ``NAME/TASK/METRIC``."""
    if kind_of(entry).open_fields:
        return metric.startswith(f"{entry.name}/")
    if not kind_of(entry).by_task:
        return metric in metrics_of(entry)
    return metric.startswith(f"{entry.name}/") and metric.count("/") == 2


def check_set(entry: EvaluationSet, place: str) -> None:
    """Check what the fields of a set cannot check one by one.

    Args:
        entry: The set.
        place: Where it stands in the sweep file.

    Raises:
        SpecError: Names the field.
    """
    kind = kind_of(entry)
    if kind.open_fields:
        return
    _check_strays(entry, place, (*_COMMON, *kind.reads))
    if kind.own_data and entry.data == "held_out":
        raise SpecError(
            "",
            f"{place}.data",
            None,
            f"kind {entry.kind} cannot read the held-out rows",
            "give it rows of its own: a file, a folder or a hub id",
        )
    checked_options(kind.options, entry.options, f"{place}.options")
    kind.check(entry, place)


def _check_strays(entry: EvaluationSet, place: str, read: Sequence[str]) -> None:
    default = EvaluationSet(entry.name)
    for field in fields(entry):
        if field.name not in read and getattr(entry, field.name) != getattr(default, field.name):
            able = [name for name, kind in KINDS.items() if field.name in kind.reads]
            raise SpecError(
                "",
                f"{place}.{field.name}",
                getattr(entry, field.name),
                f"has no meaning for kind {entry.kind}, only for {', '.join(able)}",
                f"remove it, or change the kind (kind {entry.kind} reads {', '.join(read)})",
            )


def no_such_metric(metric: str, sets: Sequence[EvaluationSet], place: str) -> SpecError:
    """Return the error for a metric that no set gives."""
    known = [name for entry in sets for name in metrics_of(entry)]
    known += [f"{entry.name}/{task}/METRIC" for entry in sets for task in entry.tasks]
    return SpecError(
        "",
        place,
        metric,
        "no evaluation set gives this metric",
        nearest(metric, known) or f"available: {', '.join(known)}",
    )
