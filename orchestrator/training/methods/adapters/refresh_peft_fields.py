"""Write ``spec/peft_fields.json`` from the installed peft's config dataclasses.

Run ``python -m orchestrator.training.methods.adapters.refresh_peft_fields`` after changing the peft version. The
file lets the sweep file be checked without importing peft.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Any

from orchestrator.spec.methods.entries import ENTRIES, FIELDS_FILE

HIDDEN = frozenset(
    [
        "task_type",
        "peft_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "megatron_config",
        "megatron_core",
        "token_dim",
        "num_transformer_submodules",
        "num_attention_heads",
        "num_layers",
        "loftq_config",
        "use_qalora",
        "qalora_group_size",
        "arrow_config",
        "runtime_config",
        "ephemeral_gpu_offload",
        "fan_in_fan_out",
        "opt_weighted_loss_type",
        "opt_loss_decay_factor",
        "runtime_offload_base_weight",
        "cache_file",
        "covariance_file",
        "verbose",
        "mask_type",
        "prune_temporary_fields",
        "tokenizer_kwargs",
        "total_step",
        "use_asa",
        "asa_target_subspaces",
        "init_warmup",
        "final_warmup",
        "mask_interval",
        "asa_importance_beta",
        "asa_uncertainty_beta",
        "asa_schedule_exponent",
    ]
)
"""Fields that peft sets itself, that contradict another setting of the sweep, whose state cannot be resumed, or that
have no effect here."""

HIDDEN_CHOICES = frozenset({"eva", "corda", "loftq"})
"""Initialisations that are methods of their own (or excluded)."""

_SIMPLE: dict[Any, str] = {int: "int", float: "float", bool: "bool", str: "str", type(None): "null", dict: "dict"}


def peft_fields() -> dict[str, Any]:
    """Return the fields of every peft config in the catalogue: config -> field -> kinds, choices, default."""
    import peft

    configs = sorted({entry.config for entry in ENTRIES.values() if entry.config})
    return {
        "peft_version": peft.__version__,
        "configs": {name: describe(getattr(peft, name)) for name in configs},
    }


def describe(config_class: type[Any]) -> dict[str, Any]:
    """Return the user-settable fields of one dataclass."""
    hints = typing.get_type_hints(config_class)
    return {
        item.name: _describe_field(hints[item.name], item)
        for item in dataclasses.fields(config_class)
        if item.init and item.name not in HIDDEN
    }


def _describe_field(hint: Any, item: dataclasses.Field[Any]) -> dict[str, Any]:
    kinds: list[str] = []
    choices: list[Any] = []
    nested: dict[str, Any] = {}
    for part in _flatten(hint):
        _add_kind(part, kinds, choices, nested)
    default = _plain_default(item)
    if default is None and "null" not in kinds:
        kinds.append("null")
    if choices and "str" in kinds and isinstance(default, enum.Enum):
        kinds.remove("str")
    described: dict[str, Any] = {"kinds": sorted(set(kinds)), "default": getattr(default, "value", default)}
    if choices:
        described["choices"] = choices
    if nested:
        described["nested"] = nested
    return described


def _flatten(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [part for option in typing.get_args(hint) for part in _flatten(option)]
    return [hint]


def _add_kind(part: Any, kinds: list[str], choices: list[Any], nested: dict[str, Any]) -> None:
    origin, arguments = typing.get_origin(part), typing.get_args(part)
    if part in _SIMPLE:
        kinds.append(_SIMPLE[part])
    elif origin is typing.Literal:
        kinds.append("choice")
        choices.extend(argument for argument in arguments if argument not in HIDDEN_CHOICES)
    elif origin is list:
        kinds.append(f"list[{_SIMPLE.get(arguments[0], 'list')}]")
    elif origin is dict:
        kinds.append("dict")
    elif isinstance(part, type) and issubclass(part, enum.Enum):
        kinds.append("choice")
        choices.extend(member.value for member in part)
    elif isinstance(part, type) and dataclasses.is_dataclass(part):
        kinds.append("object")
        nested.update({"config": part.__name__, "fields": describe(part)})
    elif origin is not typing.Callable and part is not Any:
        raise TypeError(f"peft uses a type that the generator does not know: {part!r}")


def _plain_default(item: dataclasses.Field[Any]) -> Any:
    if item.default is not dataclasses.MISSING:
        return item.default
    if item.default_factory is not dataclasses.MISSING:
        made = item.default_factory()
        return made if isinstance(made, dict | list) else None
    return None


def main(path: Path = FIELDS_FILE) -> None:
    """Write the file."""
    path.write_text(json.dumps(peft_fields(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
