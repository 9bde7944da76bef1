"""Names, parameters and tag values as a person wants to read them, within MLflow's limits. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from functools import lru_cache

from orchestrator.records import Decision, Outcome, Role, Scalar, TrialConfig
from orchestrator.spec.trial.identity import OWN_METHOD

TAG_VALUE_LIMIT = 8000
PARAM_VALUE_LIMIT = 6000
KEY_LIMIT = 250
DIGEST_LIMIT = 36
BESIDE_THE_SEARCH = frozenset(role.value for role in Role) - {Role.SEARCH.value}
"""Rules that train a trial to its end for another reason than the search's."""

_ODD = re.compile(r"[^/\w.\- ]", re.ASCII)


def config_params(config: TrialConfig) -> dict[str, Scalar]:
    """Flatten a configuration; options appear as ``METHOD.option`` and ``schedule.option``, free ones by their name."""
    flat: dict[str, Scalar] = {}
    for key, value in config.as_dict().items():
        prefix = {
            "method_options": config.method,
            "schedule_options": "schedule",
            "optimizer_options": "optimizer",
        }.get(key)
        if prefix is None:
            flat[key] = value
        else:
            place = "" if prefix == OWN_METHOD else f"{prefix}."
            flat.update({f"{place}{name}": _scalar(option) for name, option in value.items()})
    return flat


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


@lru_cache(maxsize=4096)
def clean_key(key: str) -> str:
    """Make a metric, parameter or tag key that every MLflow store accepts.

    MLflow allows letters, digits, ``_ - . / space`` (and a colon on some systems), no absolute or
    doubled paths, at most 250 characters.
    """
    cleaned = posixpath.normpath(_ODD.sub("_", key).strip("/ ") or "unnamed")
    kept = cleaned.replace("../", "").removeprefix("..")[:KEY_LIMIT]
    return "unnamed" if kept in {"", "."} else kept


def cut(text: str, limit: int = TAG_VALUE_LIMIT) -> str:
    """Cut a text to a limit; the last character says that it was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def clean_tags(tags: Mapping[str, object]) -> dict[str, str]:
    """Clean keys and cut values of tags."""
    return {clean_key(key): cut(str(value)) for key, value in tags.items()}


def clean_params(params: Mapping[str, Scalar]) -> dict[str, str]:
    """Clean keys, write values as text (floats by ``repr``, so that they read back exactly)."""
    return {clean_key(key): cut(str(value), PARAM_VALUE_LIMIT) for key, value in params.items()}


def ending_tags(outcome: Outcome, samples_seen: int, decision: Decision | None, failure: str) -> dict[str, str]:
    """Tags that say how a trial ended and why; ``verdict`` says it in one line."""
    tags = {"outcome": outcome.value, "samples_seen": str(samples_seen)}
    verdict = f"{outcome.value} at {samples_seen} samples"
    if decision is not None and outcome in {Outcome.STOPPED, Outcome.DIVERGED}:
        tags |= {
            "stop.rule": decision.rule,
            "stop.reason": decision.reason,
            "stop.samples_seen": str(samples_seen),
            "stop.cohort": decision.cohort,
        }
        verdict = f"{verdict} by {decision.rule}: {decision.reason}"
    elif decision is not None and decision.rule in BESIDE_THE_SEARCH:
        verdict = f"{verdict}: {decision.reason}"
    if failure:
        tags["failure"] = failure
        verdict = f"{verdict}: {failure}"
    return clean_tags({**tags, "verdict": verdict})


def ending_name(name: str, outcome: Outcome, samples_seen: int) -> str:
    """Add to a trial's name how it ended, so that a bare list of runs tells it."""
    return name if outcome is Outcome.COMPLETED else f"{name} · {outcome.value} at {samples_seen}"
