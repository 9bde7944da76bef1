"""Sweep files that the report proposes: the recommended recipe as a sweep of one trial, and changed copies of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from orchestrator.records import TrialConfig
from orchestrator.spec.sweep import SweepSpec


def sweep_yaml(spec: SweepSpec) -> str:
    """Return a sweep as YAML that a person would write: without what equals the defaults."""
    values = spec.model_dump(mode="json", exclude_defaults=True)
    values = {key: value for key, value in values.items() if value not in ({}, [])}
    if isinstance(values.get("model"), dict) and set(values["model"]) == {"path"}:
        values["model"] = values["model"]["path"]
    order = [key for key in ("name", "search_space", "budget") if key in values]
    values = {key: values[key] for key in (*order, *(key for key in values if key not in order))}
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None))


def recipe(spec: SweepSpec, config: TrialConfig) -> SweepSpec:
    """Return the sweep file that trains one configuration to its end and nothing else.

    Args:
        spec: The sweep that the configuration comes from.
        config: Of a trial.
    """
    return changed(
        spec,
        name=f"{spec.name}-recipe",
        search_space=fixed_space(config) | ({"any_learning_rate": True} if spec.search_space.any_learning_rate else {}),
        searcher={"kind": "grid"},
        budget={"trials": 1, "samples": config.samples},
        stopping={},
        winner={},
    )


def changed(spec: SweepSpec, **fields: Any) -> SweepSpec:
    """Return a sweep with some fields replaced, checked as a sweep file is.

    Raises:
        ValueError: If the result is no sweep (`pydantic.ValidationError` and `SpecError` are).
    """
    content = {key: value for key, value in spec.content().items() if key not in fields}
    return SweepSpec.model_validate({**content, **fields})


def fixed_space(config: TrialConfig) -> dict[str, Any]:
    """Return the search space that holds one configuration, as written in a sweep file."""
    body = {
        "learning_rate": config.learning_rate,
        **{key: _fixed(value) for key, value in config.method_options.items()},
    }
    schedule: Any = config.schedule
    if config.schedule_options:
        schedule = {"name": config.schedule, **config.schedule_options}
    return {
        "method": {config.method: body},
        "effective_batch_size": config.effective_batch_size,
        "schedule": _fixed(schedule),
        "warmup": _fixed(warmup_value(config)),
        "optimizer": config.optimizer,
        "beta1": config.beta1,
        "beta2": config.beta2,
        "epsilon": config.epsilon,
        "weight_decay": config.weight_decay,
        "clip_norm": config.clip_norm,
        "data_strategy": config.data_strategy,
        "seed": config.seed,
    }


def warmup_value(config: TrialConfig) -> Any:
    """Return a configuration's warm-up as written in a sweep file."""
    if not config.warmup_amount:
        return 0
    amount = config.warmup_amount if config.warmup_unit == "ratio" else int(config.warmup_amount)
    return {config.warmup_unit: amount}


def _fixed(value: Any) -> Any:
    return {"fixed": value} if isinstance(value, (list, Mapping)) else value
