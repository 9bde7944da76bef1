"""An exported model as a LoggedModel and a version of a registered model, on a local store and on a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TrackingError
from orchestrator.records import Outcome
from orchestrator.tracking.events import SinkError
from orchestrator.tracking.mlflow.registry import check_store, register_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and a word tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    inner = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)
    sizes = {"vocab_size": 4, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["sqlite_backend", "server_backend"])
def test_model_is_logged_with_signature_scores_and_origin(
    request: pytest.FixtureRequest, checkpoint: Path, make_trial: Callable, kind: str
) -> None:
    from mlflow.models import Model
    from mlflow.tracking import MlflowClient

    backend = request.getfixturevalue(kind)
    tracker = backend.open()
    tracker.start_trial(make_trial("t"))
    tracker.log_scores("t", 320, {"held_out/loss": 1.25})
    tracker.end_trial("t", Outcome.COMPLETED, 320)
    assert tracker.flush(60)
    run_id, experiment_id = tracker.run_ids["t"], tracker.experiment_id
    tracker.close()
    name = f"model of {backend.sweep}"
    check_store(backend.uri)
    made = [
        register_model(
            backend.uri,
            checkpoint,
            name,
            experiment_id=experiment_id,
            run_id=run_id,
            params={"method": "full"},
            tags={"digest.training_data": "abc"},
            scores={"held_out/loss": 1.25},
            samples_seen=320,
        )
        for _ in range(2)
    ]
    assert [each.version for each in made] == ["1", "2"]

    client = MlflowClient(backend.uri)
    logged = client.get_logged_model(made[0].model_id)
    assert (logged.status, logged.source_run_id, logged.params) == ("READY", run_id, {"method": "full"})
    assert logged.tags["digest.training_data"] == "abc"
    assert [(metric.key, metric.value, metric.step) for metric in logged.metrics] == [("held_out/loss", 1.25, 320)]
    version = client.get_model_version(name, "1")
    assert (version.run_id, version.tags["digest.training_data"]) == (run_id, "abc")
    paths = [file.path for file in client.list_logged_model_artifacts(made[0].model_id)]
    assert {"MLmodel", "model"} <= set(paths)
    if kind == "sqlite_backend":
        signature = Model.load(Path(logged.artifact_location) / "MLmodel").signature
        assert "string" in str(signature.inputs)
        assert "string" in str(signature.outputs)
    # The chart of the run is as it was: the same point, no new one.
    values = {(point.step, point.value) for point in client.get_metric_history(run_id, "held_out/loss")}
    assert values == {(320, 1.25)}


def test_store_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="the MLflow store of this sweep is gone"):
        check_store(f"sqlite:///{tmp_path / 'gone.db'}")


def test_model_that_cannot_be_written_leaves_a_failed_one_and_no_version(
    sqlite_backend: Any, make_trial: Callable, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    tracker = sqlite_backend.open()
    assert tracker.flush(60)
    run_id, experiment_id = tracker.run_ids[""], tracker.experiment_id
    tracker.close()
    arguments: dict[str, Any] = {"experiment_id": experiment_id, "run_id": run_id, "params": {}, "tags": {}}
    with pytest.raises(SinkError):
        register_model(sqlite_backend.uri, tmp_path / "empty", "nothing", **arguments, scores={}, samples_seen=0)
    client = MlflowClient(sqlite_backend.uri)
    assert [model.status for model in client.search_logged_models([experiment_id])] == ["FAILED"]
    assert list(client.search_model_versions("name = 'nothing'")) == []
