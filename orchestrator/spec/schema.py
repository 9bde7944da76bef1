"""The JSON Schema of the sweep file, for editors; ``sweep.schema.json`` in this folder is its shipped copy.

``python -m orchestrator.spec.schema`` rewrites that copy.
"""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.spec.sweep import SweepSpec


def sweep_schema() -> dict[str, object]:
    """Return the schema (JSON Schema 2020-12)."""
    schema = SweepSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "orchestrate sweep file", **schema}


def schema_text() -> str:
    """Return the schema as the text of the shipped file."""
    return json.dumps(sweep_schema(), indent=2, ensure_ascii=False) + "\n"


SCHEMA_FILE = Path(__file__).with_name("sweep.schema.json")

if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
