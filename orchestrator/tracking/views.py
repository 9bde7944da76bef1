"""How the MLflow UI is asked to show a sweep: a view of the run table, and the experiment's own description.

The UI (3.17) nests trials under a closed row of the sweep and shows no score, tag or parameter, unless a
view says otherwise. A view is an experiment tag ``mlflow.sharedViewState.KEY``; it stands under "Views", and
an address with ``viewStateShareKey=KEY`` opens it. A table sorted by anything but the start is flat, so every
trial shows at once. ``mlflow.experimentKind`` makes the UI open on training runs instead of traces.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from orchestrator.tracking.naming import clean_key

VIEW_KEY = "sweep"
EXPERIMENT_NOTE_LIMIT = 18_000
_WIDTHS = {"method": 90, "learning_rate": 110, "effective_batch_size": 90}


def experiment_tags(objective: str, mode: str) -> dict[str, str]:
    """Return the experiment tags that make the UI open on the sweep's story.

    Args:
        objective: Metric that defines "best"; the table is sorted by it. Empty: sorted by start.
        mode: ``max`` or ``min``.
    """
    return {
        "mlflow.experimentKind": "custom_model_development",
        f"mlflow.sharedViewState.{VIEW_KEY}": json.dumps(_view(objective, mode)),
    }


def _view(objective: str, mode: str) -> dict[str, object]:
    score = f"metrics.`{clean_key(objective)}`" if objective else ""
    params = {f"params.`{name}`": width for name, width in _WIDTHS.items()}
    widths = ({score: 110} if score else {}) | {"tags.`verdict`": 560, "tags.`role`": 70} | params
    return {
        "searchFilter": "",
        "orderByKey": score or "attributes.start_time",
        "orderByAsc": bool(score) and mode == "min",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(widths),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_20_RUNS",
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
    }


def experiment_address(server: str, experiment_id: str) -> str:
    """Return the address of a sweep's story on a running UI or server."""
    page = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={VIEW_KEY}"


def artifact_address(experiment_id: str, run_id: str, path: str) -> str:
    """Return the address of a run's artifact within the UI, wherever the UI is served."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(path)}"
