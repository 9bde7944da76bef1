"""Stopping rules of the user's own, named in the sweep file as ``FILE.py:CLASS``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from orchestrator.decisions.rules.registry import RULES
from orchestrator.decisions.rules.rule import StoppingRule
from orchestrator.errors import SpecError
from orchestrator.plugins.loading import check, guarded, loaded, loaded_code
from orchestrator.spec.options.declared import checked_options


def own_rule(reference: str, options: Mapping[str, object]) -> StoppingRule:
    """Return a rule with its options.

    Args:
        reference: ``FILE.py:CLASS``, loaded before.
        options: As the sweep file gives them.

    Raises:
        SpecError: If an option is wrong; names the nearest.
        PluginError: If the class is no rule, or raises when it is made.
    """
    found, code = loaded("stopping_rule", reference), loaded_code("stopping_rule", reference)
    if found is None or code is None:
        raise SpecError("", "stopping.rules", reference, "this rule's code is not loaded here")
    is_rule = isinstance(found, type) and issubclass(found, StoppingRule) and dataclasses.is_dataclass(found)
    check(is_rule, code, "a stopping rule is a frozen dataclass that derives from PeerRule or StoppingRule")
    assert isinstance(found, type)
    assert issubclass(found, StoppingRule)
    name = getattr(found, "name", "")
    named = isinstance(name, str) and bool(name) and name not in RULES
    check(named, code, f"it has a `name` of its own, which decisions give, got {name!r}", "e.g. name = 'high_norms'")
    given = checked_options(found, options, f"stopping.rules.{reference}")
    with guarded(code, "it refuses its options"):
        return found(**given)
