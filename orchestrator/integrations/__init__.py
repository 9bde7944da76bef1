"""What training code of your own imports to be swept: the trial object, and the callback for Hugging Face trainers.

>>> from orchestrator.integrations import SweepCallback, Trial, current_trial, sweep_arguments

Only the standard library is loaded, until a name that needs ``transformers`` is used. None of it does anything
outside of a sweep, so the same script still runs alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.integrations.arguments import sweep_arguments
    from orchestrator.integrations.hugging_face import SweepCallback
    from orchestrator.integrations.trial import Trial, current_trial
    from orchestrator.integrations.wire import TrialEnded

__all__ = ["SweepCallback", "Trial", "TrialEnded", "current_trial", "sweep_arguments"]

_HOMES = {
    "SweepCallback": "orchestrator.integrations.hugging_face",
    "Trial": "orchestrator.integrations.trial",
    "TrialEnded": "orchestrator.integrations.wire",
    "current_trial": "orchestrator.integrations.trial",
    "sweep_arguments": "orchestrator.integrations.arguments",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it stands in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator.integrations' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
