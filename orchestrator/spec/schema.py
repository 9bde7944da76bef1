"""The JSON Schema of the sweep file, for editors; ``sweep.schema.json`` in this folder is its shipped copy."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.sweep import SweepSpec


def sweep_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12)."""
    schema = SweepSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "orchestrate sweep file", **schema}
