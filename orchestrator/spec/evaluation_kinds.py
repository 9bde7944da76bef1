"""The kinds of evaluation sets: which metrics each gives and which fields it reads.

A kind is one entry here and one scorer in `orchestrator.training.evaluations`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from orchestrator.errors import SpecError, nearest
from orchestrator.settings.evaluation import EvaluationSet

_ROWS = ("data", "format", "columns", "limit")
_COMMON = ("name", "kind", "when", "detached")


@dataclass(frozen=True)
class EvaluationKind:
    """One kind of evaluation set.

    Attributes:
        summary: What it measures.
        metrics: What its metrics are called after ``NAME/``; empty where only its tasks tell.
        reads: Fields that have a meaning for it.
        own_data: It cannot score the held-out rows, so it needs a source of its own.
        takes_data: It reads rows at all.
    """

    summary: str
    metrics: Callable[[EvaluationSet], tuple[str, ...]]
    reads: tuple[str, ...]
    own_data: bool = False
    takes_data: bool = True


def _loss_metrics(entry: EvaluationSet) -> tuple[str, ...]:
    return ("loss", "perplexity") if entry.perplexity else ("loss",)


def _choice_metrics(entry: EvaluationSet) -> tuple[str, ...]:
    return ("accuracy",) if entry.choices == "letters" else ("accuracy", "accuracy_normalised")


def _judge_metrics(entry: EvaluationSet) -> tuple[str, ...]:
    if entry.judge is not None and entry.judge.grading == "pairwise":
        return ("win_rate", "failures")
    return ("score", "score_first_turn", "score_second_turn", "failures")


INSTRUCTION_METRICS = ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")

KINDS: Mapping[str, EvaluationKind] = {
    "loss": EvaluationKind("cross-entropy on answers", _loss_metrics, (*_ROWS, "perplexity")),
    "text_loss": EvaluationKind(
        "cross-entropy on plain text, and forgetting",
        lambda entry: (*_loss_metrics(entry), "forgetting"),
        ("data", "limit", "perplexity"),
        own_data=True,
    ),
    "exact_match": EvaluationKind(
        "share of greedy answers that equal the reference",
        lambda entry: ("exact_match",),
        (*_ROWS, "max_new_tokens", "extract"),
    ),
    "multiple_choice": EvaluationKind(
        "share of questions whose right choice is the likeliest",
        _choice_metrics,
        ("data", "columns", "limit", "choices", "prompt", "num_fewshot", "fewshot_data", "too_long"),
        own_data=True,
    ),
    "instructions": EvaluationKind(
        "verifiable instructions followed (IFEval)",
        lambda entry: INSTRUCTION_METRICS,
        ("data", "limit", "max_new_tokens", "unverifiable", "too_long"),
        own_data=True,
    ),
    "lm_eval": EvaluationKind(
        "tasks of EleutherAI's lm-eval",
        lambda entry: (),
        ("limit", "prompt", "num_fewshot", "tasks", "task_folders", "unsafe_code"),
        takes_data=False,
    ),
    "judge": EvaluationKind(
        "answers graded by another model (MT-Bench)",
        _judge_metrics,
        ("data", "limit", "max_new_tokens", "judge", "too_long"),
        own_data=True,
    ),
}


def metrics_of(entry: EvaluationSet) -> list[str]:
    """Return the names of the metrics that a set gives, as far as they can be told without its tasks."""
    return [f"{entry.name}/{metric}" for metric in KINDS[entry.kind].metrics(entry)]


def may_give(entry: EvaluationSet, metric: str) -> bool:
    """Whether a set gives a metric; of lm_eval, whether the name has the form ``NAME/TASK/METRIC``."""
    if entry.kind != "lm_eval":
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
    kind = KINDS[entry.kind]
    _check_strays(entry, place, (*_COMMON, *kind.reads))
    if kind.own_data and entry.data == "held_out":
        raise SpecError(
            "",
            f"{place}.data",
            None,
            f"kind {entry.kind} cannot read the held-out rows",
            "give it rows of its own: a file, a folder or a hub id",
        )
    if entry.kind == "lm_eval" and not entry.tasks:
        raise SpecError("", f"{place}.tasks", None, "kind lm_eval needs tasks", "for example tasks: [arc_easy]")
    if entry.kind == "judge":
        _check_judge(entry, place)
    if entry.extract:
        _check_pattern(entry.extract, f"{place}.extract")
    if entry.fewshot_data and not entry.num_fewshot:
        raise SpecError(
            "",
            f"{place}.num_fewshot",
            entry.num_fewshot,
            "fewshot_data is given, but no example is asked for",
            "set num_fewshot, or remove fewshot_data",
        )


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


def _check_judge(entry: EvaluationSet, place: str) -> None:
    if entry.judge is None:
        raise SpecError(
            "", f"{place}.judge", None, "kind judge needs to know who judges", "give judge: {base_url: ..., model: ...}"
        )
    if "@" in entry.judge.base_url.partition("://")[2].partition("/")[0]:
        raise SpecError(
            "",
            f"{place}.judge.base_url",
            None,
            "holds a login, and sweep files are stored and shown",
            "put the key into an environment variable and name it with api_key_env",
        )
    if entry.judge.baseline != "base" and entry.judge.grading != "pairwise":
        raise SpecError(
            "",
            f"{place}.judge.baseline",
            entry.judge.baseline,
            "grading single compares with nothing",
            "set grading: pairwise, or remove baseline",
        )


def _check_pattern(pattern: str, place: str) -> None:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SpecError("", place, pattern, f"is no regular expression: {error}") from error
    if compiled.groups < 1:
        raise SpecError(
            "",
            place,
            pattern,
            "has no group, so that nothing is compared",
            "put what is compared in brackets, e.g. '#### (.*)'",
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


LATER_FIELDS = tuple(
    field.name
    for field in fields(EvaluationSet)
    if field.name not in ("name", "kind", "data", "format", "columns", "limit", "max_new_tokens", "when")
)
"""Fields that came later: where they have their defaults a sweep's identity leaves them out, so that earlier ones resume."""

PATIENCE = ("api_key_env", "concurrency", "timeout_seconds", "retries", "max_minutes")
"""Fields of a judge that say how it is reached and how patiently, and are no part of what a sweep is."""


def defining_set(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation set without later fields at their defaults, and without how patiently its judge is asked."""
    default = asdict(EvaluationSet(entry["name"]))
    kept = {key: value for key, value in entry.items() if key not in LATER_FIELDS or value != default[key]}
    if kept.get("judge"):
        kept["judge"] = {key: value for key, value in kept["judge"].items() if key not in PATIENCE}
    return kept
