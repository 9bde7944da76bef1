"""Every method's result in Hugging Face form: read back with plain transformers or peft, it computes the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CheckpointError, SpecError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.training.export.write import Exported, ExportError, write_trained
from orchestrator.training.setup.session import TrainingSession
from tests.worlds.tiny_models import build_model, build_tokenizer

Trained = Callable[..., tuple[TrialConfig, Path]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    build_model(hidden_size=64, intermediate_size=128).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def session(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingSession:
    folder = tmp_path_factory.mktemp("session")
    words = ["red", "blue", "five", "cat"]
    rows = [{"question": f"what is {n}", "answer": words[n % 4]} for n in range(64)]
    (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    data = DataSettings(str(folder / "train.jsonl"), held_out=0.25)
    setup = TrialSetup(ModelSettings(str(base)), data, (EvaluationSet("held"),), TrainingSettings())
    return TrainingSession(setup, folder / "cache", threads=1, device="cpu")


@pytest.fixture
def trained(session: TrainingSession, tmp_path: Path) -> Trained:
    """Train a method for three steps and save it."""

    def train(method: str, **options: Any) -> tuple[TrialConfig, Path]:
        config = TrialConfig(method, 8, 1e-2, 24, method_options=options)
        trial = session.trial(config, "t")
        trial.advance(24)
        trial.save(tmp_path / "m0000")
        trial.close()
        return config, tmp_path / "m0000"

    return train


def write(session: TrainingSession, config: TrialConfig, checkpoint: Path, folder: Path, **options: Any) -> Exported:
    folder.mkdir()
    return write_trained(session, config, checkpoint, folder, **options)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_written_and_reads_back_the_same(
    session: TrainingSession, trained: Trained, tmp_path: Path, name: str
) -> None:
    info = METHODS[name]
    config, checkpoint = trained(name)
    exported = write(session, config, checkpoint, tmp_path / "out")
    assert exported.form == ("adapter" if info.peft_config else "model")
    assert exported.difference is not None
    assert exported.difference < 1e-3
    files = {file.name for file in (tmp_path / "out").iterdir()}
    weights = "adapter_model.safetensors" if info.peft_config else "model.safetensors"
    assert {weights, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pickle")) for name in files)
    if not info.peft_config:
        assert "generation_config.json" in files
        return
    if not info.merges:
        with pytest.raises(SpecError, match="does not fold into plain weights"):
            write(session, config, checkpoint, tmp_path / "merged", merge=True)
        return
    merged = write(session, config, checkpoint, tmp_path / "merged", merge=True)
    assert (merged.form, merged.library) == ("merged", "transformers")
    assert merged.difference is not None
    assert merged.difference < 1e-3


@pytest.mark.parametrize("name", ["pissa", "olora", "corda", "lora_ga"])
def test_adapter_that_starts_from_the_bases_weights_becomes_a_plain_lora_of_twice_the_rank(
    session: TrainingSession, trained: Trained, tmp_path: Path, name: str
) -> None:
    config, checkpoint = trained(name, r=4)
    exported = write(session, config, checkpoint, tmp_path / "out")
    assert (exported.converted, exported.plain_lora) == (True, True)
    stored = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (stored["r"], stored["init_lora_weights"]) == (8, True)


@pytest.mark.parametrize(("name", "plain"), [("lora", True), ("rslora", True), ("dora", False), ("ia3", False)])
def test_only_plain_loras_are_said_to_suit_servers(
    session: TrainingSession, trained: Trained, tmp_path: Path, name: str, plain: bool
) -> None:
    config, checkpoint = trained(name)
    assert write(session, config, checkpoint, tmp_path / "out").plain_lora is plain


def test_adapter_that_peft_cannot_store_says_so_and_can_be_merged(
    session: TrainingSession, trained: Trained, tmp_path: Path
) -> None:
    config, checkpoint = trained("pissa", r=4, use_rslora=True, rank_pattern={"q_proj": 2})
    with pytest.raises(ExportError, match=r"peft cannot store this pissa adapter: .*; with --merge it can be written"):
        write(session, config, checkpoint, tmp_path / "out")
    assert write(session, config, checkpoint, tmp_path / "merged", merge=True).form == "merged"


def test_damaged_and_foreign_checkpoints_are_refused(
    session: TrainingSession, trained: Trained, tmp_path: Path
) -> None:
    config, checkpoint = trained("lora")
    with pytest.raises(CheckpointError, match="of another configuration"):
        write(session, replace(config, seed=1), checkpoint, tmp_path / "a")
    weights = checkpoint / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"\1" * 8)
    with pytest.raises(CheckpointError, match="is not what the manifest says"):
        write(session, config, checkpoint, tmp_path / "b")


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("merge", [False, True])
def test_models_trained_in_bfloat16_are_merged_in_float32_and_stored_as_asked(
    base: Path, session: TrainingSession, tmp_path: Path, method: str, merge: bool
) -> None:
    setup = replace(session.setup, training=TrainingSettings(precision="bfloat16"))
    half = TrainingSession(setup, session.cache_dir, threads=1, device="cpu")
    config = TrialConfig(method, 8, 1e-2, 24)
    trial = half.trial(config, "t")
    trial.advance(24)
    trial.save(tmp_path / "m0000")
    trial.close()
    exported = write(half, config, tmp_path / "m0000", tmp_path / "out", merge=merge, dtype="bfloat16")
    assert (exported.dtype, exported.difference is not None) == ("bfloat16", True)
    widest = write(half, config, tmp_path / "m0000", tmp_path / "wide", merge=merge)
    assert widest.dtype == "float32", "the base is stored so, and what is trained is float32"
