"""Rules of single kinds of evaluation sets: how their fields fit together.

Each takes the set and its place in the sweep file, and raises a `SpecError` that names the field.
"""

from __future__ import annotations

import re

from orchestrator.errors import SpecError
from orchestrator.settings.evaluation import EvaluationSet

PATIENCE = ("api_key_env", "concurrency", "timeout_seconds", "retries", "max_minutes")
"""Fields of a judge that say how it is reached and how patiently, and are no part of what a sweep is."""


def check_pattern(entry: EvaluationSet, place: str) -> None:
    """`extract` is a regular expression with a group."""
    if not entry.extract:
        return
    field = f"{place}.extract"
    try:
        compiled = re.compile(entry.extract)
    except re.error as error:
        raise SpecError("", field, entry.extract, f"is no regular expression: {error}") from error
    if compiled.groups < 1:
        raise SpecError(
            "",
            field,
            entry.extract,
            "has no group, so that nothing is compared",
            "put what is compared in brackets, e.g. '#### (.*)'",
        )


def check_examples(entry: EvaluationSet, place: str) -> None:
    """A source of solved examples goes with a number of them."""
    if entry.fewshot_data and not entry.num_fewshot:
        raise SpecError(
            "",
            f"{place}.num_fewshot",
            entry.num_fewshot,
            "fewshot_data is given, but no example is asked for",
            "set num_fewshot, or remove fewshot_data",
        )


def check_tasks(entry: EvaluationSet, place: str) -> None:
    """Tasks are named."""
    if not entry.tasks:
        raise SpecError("", f"{place}.tasks", None, "kind lm_eval needs tasks", "for example tasks: [arc_easy]")


def check_judge(entry: EvaluationSet, place: str) -> None:
    """There is a judge, its address holds no login, and a baseline goes with comparing."""
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
