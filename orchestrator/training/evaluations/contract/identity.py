"""What decides a set's scores, as a key: fields that say when, where or how patiently it is scored are left out."""

from __future__ import annotations

from dataclasses import asdict

from orchestrator.plugins.loading import loaded_code
from orchestrator.settings.trial_setup import EvaluationSet
from orchestrator.spec.evaluations.identity import without_patience
from orchestrator.training.data.token_cache import key_of

VERSION = 1
"""Raise it when a scorer changes what it computes: older scores are then computed again."""

_NO_MATTER = ("name", "when", "detached")


def settings_key(settings: EvaluationSet) -> str:
    """Return the key of everything in a set's settings that may change its scores.

    Fields at their defaults are left out, so that an option which comes later leaves known scores known.
    """
    default = asdict(EvaluationSet(settings.name))
    values = {
        name: value for name, value in asdict(settings).items() if name not in _NO_MATTER and value != default[name]
    }
    code = loaded_code("evaluation", settings.kind)
    digest = {} if code is None else {"code": code.digest}
    return key_of("settings", VERSION, {**without_patience(values), **digest})
