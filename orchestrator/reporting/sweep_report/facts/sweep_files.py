"""Sweep files that the report proposes: the recommended recipe as a sweep of one trial, and changed copies of a sweep."""

from __future__ import annotations

import yaml

from orchestrator.records import TrialConfig
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.dimensions import space_of_config


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
        search_space=space_of_config(config)
        | ({"any_learning_rate": True} if spec.search_space.any_learning_rate else {}),
        searcher={"kind": "grid"},
        budget={"trials": 1, "samples": config.samples},
        stopping={},
        winner={},
    )


def changed(spec: SweepSpec, **fields: object) -> SweepSpec:
    """Return a sweep with some fields replaced, checked as a sweep file is.

    Raises:
        ValueError: If the result is no sweep (`pydantic.ValidationError` and `SpecError` are).
    """
    content = {key: value for key, value in spec.content().items() if key not in fields}
    return SweepSpec.model_validate({**content, **fields})
