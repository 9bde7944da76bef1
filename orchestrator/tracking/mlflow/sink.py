"""Runs in MLflow. The only module that imports mlflow, and it does so when a sink is opened, not before.

Talks to `MlflowClient` with run ids, never to the fluent API (whose run stack is per process). Redelivery is
harmless: MLflow keeps one row per (run, key, timestamp, step, value), parameters and tags are written with
the same values, runs and data set inputs are looked up before they are made.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from orchestrator.tracking.events import SWEEP, Event, EventKind, SinkError
from orchestrator.tracking.mlflow.sqlite_store import (
    ARTIFACTS_FOLDER,
    database_file,
    rehome_artifacts,
    tune_connections,
)
from orchestrator.tracking.naming import clean_key
from orchestrator.tracking.tracker import ACTION_TAG, ANSWERS

METRICS_PER_CALL = 1000
"""MLflow's limit of entities in one ``log_batch``; fewer per call costs speed (one transaction each)."""

LABELS_PER_CALL = 100
"""MLflow's limit of parameters, and of tags, in one ``log_batch``."""

SWEEP_ID_TAG = "orchestrate.sweep_id"
TRIAL_ID_TAG = "orchestrate.trial_id"
FOLDER_TAG = "orchestrate.folder"

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # Ending a run would print its address, and standard output belongs to the command line.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # The outbox retries; MLflow's own seven retries with back-off would hold the thread for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_PERMANENT = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"}


@dataclass(slots=True)
class _Changes:
    """What one batch of events asks of one run."""

    metrics: list[object] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[Mapping[str, Any]] = field(default_factory=list)
    artifacts: list[Event] = field(default_factory=list)
    experiment: dict[str, str] = field(default_factory=dict)
    name: str = ""
    status: str = ""
    ended_ms: int = 0


class MlflowSink:
    """A `Sink` whose store is MLflow.

    Args:
        tracking_uri: ``sqlite:///FILE``, ``http://HOST:PORT`` or another URI that MLflow takes.
        experiment: Name of the experiment.
        sweep_id: Finds the sweep's runs again.
        folder: The sweep's folder; runs left RUNNING by another, dead sweep in it are closed.
        artifact_root: Where a new experiment keeps artifacts; None lets the server choose.
    """

    def __init__(
        self, tracking_uri: str, experiment: str, sweep_id: str, folder: Path, artifact_root: Path | None = None
    ) -> None:
        self._uri, self._experiment, self._sweep_id = tracking_uri, experiment, sweep_id
        self._folder, self._artifact_root = folder, artifact_root
        self._client: Any = None
        self._experiment_id = ""
        self._run_ids: dict[str, str] = {}
        self._unsure = False

    @property
    def run_ids(self) -> Mapping[str, str]:
        """See `Sink.run_ids`."""
        return self._run_ids

    @property
    def experiment_id(self) -> str:
        """See `Sink.experiment_id`."""
        return self._experiment_id

    def open(self, known_run_ids: Mapping[str, str]) -> bool:
        """See `Sink.open`. Takes seconds: the import, and the tables of a new SQLite store."""
        with told():
            self._client = open_client(self._uri)
            self._experiment_id = self._find_or_make_experiment()
            self._look_up_runs()
            self._close_abandoned_runs()
        return set(known_run_ids.values()) <= set(self._run_ids.values())

    def deliver(self, events: Sequence[Event]) -> None:
        """See `Sink.deliver`."""
        with told():
            if self._unsure:
                self._look_up_runs()
            changes: dict[str, _Changes] = {}
            for event in events:
                self._collect(changes.setdefault(event.run, _Changes()), event)
            for run, wanted in changes.items():
                self._write(self._run_ids[run], wanted)
                for key, value in wanted.experiment.items():
                    self._client.set_experiment_tag(self._experiment_id, key, value)

    def asked(self) -> Mapping[str, str]:
        """See `Sink.asked`."""
        query = f"tags.`{SWEEP_ID_TAG}` = '{self._sweep_id}' AND tags.`{ACTION_TAG}` LIKE '%'"
        with told():
            runs = list(self._search(query))
        asked = {run.data.tags.get(TRIAL_ID_TAG, SWEEP): run.data.tags[ACTION_TAG] for run in runs}
        return {run: text for run, text in asked.items() if not text.startswith(ANSWERS)}

    def close(self) -> None:
        """See `Sink.close`."""
        self._client = None

    # ---------------------------------------------------------------- finding
    def _find_or_make_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            root = None if self._artifact_root is None else str(self._artifact_root)
            return str(self._client.create_experiment(self._experiment, artifact_location=root))
        if found.lifecycle_stage != "active":
            raise SinkError(f"the MLflow experiment {self._experiment!r} is deleted; restore it or use another name")
        return str(found.experiment_id)

    def _look_up_runs(self) -> None:
        """Learn which runs the store has; also after a failure that leaves open whether a run was made."""
        for run in self._search(f"tags.`{SWEEP_ID_TAG}` = '{self._sweep_id}'"):
            self._run_ids.setdefault(run.data.tags.get(TRIAL_ID_TAG, SWEEP), run.info.run_id)
        self._unsure = False

    def _close_abandoned_runs(self) -> None:
        """Close runs that another sweep in the same folder left RUNNING; its process cannot be alive."""
        folder = str(self._folder).replace("'", "")
        for run in self._search(f"attributes.status = 'RUNNING' AND tags.`{FOLDER_TAG}` = '{folder}'"):
            if run.data.tags.get(SWEEP_ID_TAG) != self._sweep_id:
                self._client.set_tag(run.info.run_id, "outcome", "abandoned")
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, query: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    # ---------------------------------------------------------------- writing
    def _collect(self, wanted: _Changes, event: Event) -> None:
        from mlflow.entities import Metric

        body, made = event.body, False
        if event.kind is EventKind.OPEN:
            made = self._ensure_run(event)
            wanted.params |= body["params"]
            wanted.datasets += body["datasets"]
            wanted.status = "" if made else "RUNNING"
        if event.kind is EventKind.METRICS:
            for key, columns in body["series"].items():
                wanted.metrics += [Metric(key, value, ms, step) for step, ms, value in zip(*columns, strict=True)]
        elif event.kind in {EventKind.TEXT, EventKind.FILE}:
            wanted.artifacts.append(event)
        else:
            wanted.tags |= body["tags"]
            wanted.experiment |= body.get("experiment", {})
            wanted.name = "" if made else body.get("name", wanted.name)
        if event.kind is EventKind.CLOSE:
            wanted.status, wanted.ended_ms = body["status"], event.timestamp_ms
        if event.run not in self._run_ids:
            raise SinkError(f"an event of run {event.run!r} came before the run was opened", permanent=True)

    def _ensure_run(self, event: Event) -> bool:
        """Make the event's run unless the store has it; True when it was made, running and named, just now."""
        if event.run in self._run_ids:
            return False
        tags = {SWEEP_ID_TAG: self._sweep_id, FOLDER_TAG: str(self._folder), **event.body["tags"]}
        if event.run != SWEEP:
            tags["mlflow.parentRunId"] = self._run_ids[SWEEP]
        self._unsure = True
        run = self._client.create_run(
            self._experiment_id, start_time=event.timestamp_ms, tags=tags, run_name=event.body["name"]
        )
        self._unsure = False
        self._run_ids[event.run] = run.info.run_id
        return True

    def _write(self, run_id: str, wanted: _Changes) -> None:
        for metrics, params, tags in _calls(wanted):
            self._client.log_batch(run_id, metrics, params, tags, synchronous=True)
        if wanted.datasets:
            self._client.log_inputs(run_id, datasets=[_dataset_input(dataset) for dataset in wanted.datasets])
        for event in wanted.artifacts:
            self._store(run_id, event)
        if wanted.name or wanted.status == "RUNNING":
            self._client.update_run(run_id, status=wanted.status or None, name=wanted.name or None)
        if wanted.status and wanted.status != "RUNNING":
            self._client.set_terminated(run_id, wanted.status, end_time=wanted.ended_ms)

    def _store(self, run_id: str, event: Event) -> None:
        if event.kind is EventKind.TEXT:
            self._client.log_text(run_id, event.body["text"], event.body["path"])
            return
        if not Path(event.body["file"]).is_file():
            raise SinkError(f"the artifact {event.body['file']} is gone", permanent=True)
        self._client.log_artifact(run_id, event.body["file"], event.body["folder"] or None)


def open_client(uri: str) -> Any:
    """Return a quiet ``MlflowClient`` of a store; takes seconds, for the import."""
    for key, value in _SETTINGS.items():
        os.environ.setdefault(key, value)
    # MLflow tells about each migration of a new store; alembic as well.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    file = database_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        rehome_artifacts(file, file.parent / ARTIFACTS_FOLDER)
        tune_connections(file)
    return MlflowClient(tracking_uri=uri)


def artifacts_of(uri: str, run_id: str) -> Any:
    """Return the artifact repository of a run where it is now; the client's own remembers it by the run's id alone."""
    client = open_client(uri)
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=uri)


def _calls(wanted: _Changes) -> Iterator[tuple[list[object], list[object], list[object]]]:
    """Cut changes into as few ``log_batch`` calls as the limits allow."""
    from mlflow.entities import Param, RunTag

    metrics = iter(wanted.metrics)
    params = iter([Param(key, value) for key, value in wanted.params.items()])
    tags = iter([RunTag(key, value) for key, value in wanted.tags.items()])
    while True:
        some_params, some_tags = list(islice(params, LABELS_PER_CALL)), list(islice(tags, LABELS_PER_CALL))
        some_metrics = list(islice(metrics, METRICS_PER_CALL - len(some_params) - len(some_tags)))
        if not (some_metrics or some_params or some_tags):
            return
        yield some_metrics, some_params, some_tags


def _dataset_input(dataset: Mapping[str, Any]) -> object:
    import json

    from mlflow.entities import Dataset, DatasetInput, InputTag

    described = Dataset(
        name=dataset["name"][:500],
        digest=dataset["digest"],
        source_type="local" if os.path.sep in dataset["source"] else "code",
        source=json.dumps({"uri": dataset["source"]}),
        schema=None,
        profile=json.dumps({"num_rows": dataset["rows"]}),
    )
    return DatasetInput(dataset=described, tags=[InputTag("mlflow.data.context", dataset["context"])])


class told:
    """Turn what MLflow raises into `SinkError`, and say whether a retry may help."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, SinkError) or not isinstance(error, Exception):
            return
        code = getattr(error, "error_code", "")
        # A bug met by one event would otherwise be retried for ever and hold up all others.
        known = bool(code) or isinstance(error, OSError)
        permanent = code in _PERMANENT or not known
        raise SinkError(f"{type(error).__name__}: {error}", permanent=permanent) from error


def write_mlflow_model(checkpoint: Path, to: Path, model_id: str, metadata: Mapping[str, str]) -> None:
    """Write a Hugging Face folder as an MLflow model (text in, text out) with its signature.

    Args:
        checkpoint: Folder of a whole model with its tokenizer.
        to: Folder that does not exist.
        model_id: Id of the LoggedModel that it becomes.
        metadata: Kept with the model.
    """
    import mlflow.transformers
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = Schema([ColSpec(DataType.string)])
    # Given the folder instead, MLflow 3.17 fails on the task names of transformers 5.
    parts = {
        "model": AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto"),
        "tokenizer": AutoTokenizer.from_pretrained(checkpoint),
    }
    mlflow.transformers.save_model(
        parts,
        str(to),
        task="text-generation",
        signature=ModelSignature(inputs=text, outputs=text),
        mlflow_model=Model(model_id=model_id),
        metadata=dict(metadata),
        # Left open, they would be found by loading the model once more in another process.
        pip_requirements=["mlflow", "transformers", "torch", "accelerate"],
    )


def log_scores(client: Any, run_id: str, scores: Mapping[str, float], step: int) -> None:
    """Add scores at ``step`` samples seen to a run, which may have ended."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(clean_key(key), value, now, step) for key, value in scores.items()])


def log_model_scores(client: Any, run_id: str, model_id: str, scores: Mapping[str, float], step: int) -> None:
    """Attach scores at ``step`` samples seen to a LoggedModel; in the run they repeat the points that stand there."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(clean_key(key), value, now, step, model_id=model_id) for key, value in scores.items()]
    client.log_batch(run_id, metrics, synchronous=True)
