"""Write ``spec/methods/peft_fields.json`` from the installed peft's config dataclasses.

Run ``python -m orchestrator.training.methods.adapters.refresh_peft_fields`` after changing the peft version. The
file lets the sweep file be checked without importing peft.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from pathlib import Path

from orchestrator.spec.methods.entries import ENTRIES
from orchestrator.spec.methods.peft_options import FIELDS_FILE
from orchestrator.spec.options.annotations import accepted_by

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


def peft_fields() -> dict[str, object]:
    """Return the fields of every peft config in the catalogue: config -> field -> kinds, choices, default."""
    import peft

    configs = sorted({entry.config for entry in ENTRIES.values() if entry.config})
    return {
        "peft_version": peft.__version__,
        "configs": {name: describe(getattr(peft, name)) for name in configs},
    }


def describe(config_class: type[object]) -> dict[str, dict[str, object]]:
    """Return the user-settable fields of one dataclass.

    Raises:
        TypeError: If it is none, or a field has a type that is not known here.
    """
    if not dataclasses.is_dataclass(config_class):
        raise TypeError(f"{config_class!r} is no dataclass")
    hints = typing.get_type_hints(config_class)
    return {
        item.name: _describe_field(hints[item.name], item)
        for item in dataclasses.fields(config_class)
        if item.init and item.name not in HIDDEN
    }


def _describe_field(hint: object, item: dataclasses.Field[object]) -> dict[str, object]:
    accepted = accepted_by(hint)
    kinds = set(accepted.kinds)
    choices = [choice for choice in accepted.choices if choice not in HIDDEN_CHOICES]
    default = _plain_default(item)
    if default is None:
        kinds.add("null")
    if choices and isinstance(default, enum.Enum):
        kinds.discard("str")
    described: dict[str, object] = {"kinds": sorted(kinds), "default": getattr(default, "value", default)}
    if choices:
        described["choices"] = choices
    if accepted.nested is not None:
        described["nested"] = {"config": accepted.nested.__name__, "fields": describe(accepted.nested)}
    return described


def _plain_default(item: dataclasses.Field[object]) -> object:
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
