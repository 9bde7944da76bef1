"""The config classes of the installed peft; one that lacks a class or a field is told by its version."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from orchestrator.errors import ModelError

TESTED = ">=0.21,<0.22"
"""The versions of peft that have all methods of the catalogue with these options; as in pyproject.toml."""


def config_class(method: str, name: str, fields: Iterable[str]) -> Callable[..., object]:
    """Return one of peft's config classes that has certain fields.

    Args:
        method: The method that needs it.
        name: Name of the class.
        fields: Names of the fields that are to be given.

    Raises:
        ModelError: If the installed peft has no such class, or no such field in it.
    """
    import peft

    found: type | None = getattr(peft, name, None)
    if found is None or not dataclasses.is_dataclass(found):
        raise _another_peft(method, f"no {name}")
    missing = set(fields) - {field.name for field in dataclasses.fields(found)}
    if missing:
        raise _another_peft(method, f"no {', '.join(sorted(missing))} in {name}")
    return found


def nested_config(method: str, fields: Iterable[str], values: Mapping[str, object]) -> object:
    """Return one of the config objects that stand inside LoraConfig, found by its fields.

    Raises:
        ModelError: If the installed peft has none with these fields.
    """
    from peft.tuners.lora import config

    wanted = set(fields)
    classes = [each for each in vars(config).values() if isinstance(each, type) and dataclasses.is_dataclass(each)]
    for candidate in classes:
        if wanted <= {field.name for field in dataclasses.fields(candidate)}:
            return candidate(**values)
    raise _another_peft(method, f"no config with the fields {', '.join(sorted(wanted))}")


def _another_peft(method: str, lacks: str) -> ModelError:
    import peft

    rule = f"this method needs another peft than the installed {peft.__version__}, which has {lacks}"
    return ModelError("method", method, rule=rule, mend=f"install one that was tested: pip install 'peft{TESTED}'")
