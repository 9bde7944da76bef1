"""How weights are trained. A method is one class here and one entry in `orchestrator.spec.methods.entries`."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.errors import OrchestratorError
from orchestrator.lazy_names import load
from orchestrator.spec.methods.catalogue import method_entry, resolve_options
from orchestrator.training.methods.contract.method import Batch, Method, MethodContext

__all__ = ["Batch", "Method", "MethodContext", "build_method", "method_class"]


def build_method(name: str, options: Mapping[str, object] | None = None) -> Method:
    """Return a fresh method for one trial, with checked options over its defaults.

    Raises:
        SpecError: If the name or an option is wrong; names the nearest known one.
    """
    return method_class(name)(name, resolve_options(name, options or {}))


def method_class(name: str) -> type[Method]:
    """Return the class that a method's entry names, imported when it is first asked for.

    Raises:
        SpecError: If there is no method of this name.
        OrchestratorError: If the entry names no class of a method.
    """
    place = method_entry(name).implementation
    try:
        found = load(place)
    except AttributeError:
        found = None
    if isinstance(found, type) and issubclass(found, Method):
        return found
    raise OrchestratorError(
        f"method {name!r}: implementation {place!r} must name a subclass of Method, as MODULE:CLASS"
    )
