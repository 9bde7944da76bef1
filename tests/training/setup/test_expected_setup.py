"""A setup described by what is expected of it, and what training costs on named GPUs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DataError, ModelError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import (
    DataSettings,
    EvaluationSet,
    ExpectedData,
    ModelSettings,
    Phase,
    TrainingSettings,
    TrialSetup,
)
from orchestrator.training.model.architectures import ARCHITECTURES, architecture_folder
from orchestrator.training.model.load import count_parameters
from orchestrator.training.setup.estimates import TrialEstimator
from orchestrator.training.setup.expected import expect_setup, expected_config, missing_parts
from orchestrator.training.setup.gpus import GPUS

EXPECTED = ExpectedData(rows=1000, mean_tokens=200, answer_share=0.25, longest=600)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.training.model.hub.is_reachable", lambda: False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def setup_of(model: str, **data: Any) -> TrialSetup:
    settings = DataSettings(**({"train": "./not-here.jsonl", "expected": EXPECTED} | data))
    return TrialSetup(ModelSettings(model), settings, (EvaluationSet("eval", limit=30),), TrainingSettings())


@pytest.mark.parametrize(
    ("hub_id", "billions"),
    [
        ("ibm-granite/granite-3b-code-base-2k", 3.48),
        ("ibm-granite/granite-7b-base", 6.74),
        ("meta-llama/Llama-3.2-3B", 3.21),
        ("mistralai/Mistral-7B-v0.1", 7.24),
    ],
)
def test_shipped_architecture_has_its_published_size(hub_id: str, billions: float) -> None:
    settings = ModelSettings(hub_id)
    parameters, _ = count_parameters(expected_config(settings), settings)
    assert round(parameters / 1e9, 2) == billions
    readme = (architecture_folder(hub_id) or Path()).parent / "README.md"
    assert f"| `{hub_id}` |" in readme.read_text(encoding="utf-8")
    assert f"{billions} B" in readme.read_text(encoding="utf-8")


def test_shipped_folders_hold_a_configuration_and_nothing_else() -> None:
    for hub_id in ARCHITECTURES:
        assert [file.name for file in (architecture_folder(hub_id) or Path()).iterdir()] == ["config.json"]


def test_expected_setup_counts_rows_tokens_and_phases() -> None:
    phases = [Phase("short", share=0.4), Phase("long", share=0.6, replay=0.01)]
    setup = setup_of("ibm-granite/granite-7b-base", held_out=0.1, phases=phases, max_length=512)
    missing = missing_parts(setup)
    assert [type(error) for error in missing] == [ModelError, DataError]
    report = expect_setup(setup, missing)
    assert (report.train.rows, report.train.tokens, report.train.answer_tokens) == (900, 180_000, 45_000)
    assert report.train.longest == 512
    assert report.phases == {"short": 360, "long": 540}
    assert [entry.rows for entry in report.evaluation] == [30]
    assert len(report.missing) == 2
    assert "not-here.jsonl: there is no such file" in report.missing[1]


def test_nothing_is_missing_where_model_and_data_are_here(tmp_path: Path) -> None:
    assert missing_parts(setup_of("testbed", train="testbed:sft")) == []
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"question": "a", "answer": "b"}))
    assert missing_parts(setup_of("testbed", train=str(file))) == []


def test_source_that_is_here_but_wrong_is_no_missing_one(tmp_path: Path) -> None:
    file = tmp_path / "a.docx"
    file.write_text("x")
    with pytest.raises(DataError, match="files must end in"):
        missing_parts(setup_of("testbed", train=str(file)))


def test_folder_with_a_configuration_alone_can_be_planned(tmp_path: Path) -> None:
    source = architecture_folder("ibm-granite/granite-7b-base") or Path()
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    setup = setup_of(str(tmp_path))
    report = expect_setup(setup, missing_parts(setup))
    assert report.model.parameters > 6e9
    assert "weights are not here" in report.missing[0]


def test_unknown_model_names_the_known_ones() -> None:
    setup = setup_of("someone/unknown-7b")
    with pytest.raises(ModelError, match=r"its architecture does not come with this package.*granite-7b-base"):
        expect_setup(setup, missing_parts(setup))


def test_gpu_hours_agree_with_the_published_run_times(tmp_path: Path) -> None:
    # Granite 3.3 8B on Table-GPT, the anchor of orchestrator/training/setup/gpus.py, in tokens per second and GPU.
    sizes = {"hidden_size": 4096, "intermediate_size": 12800, "num_hidden_layers": 40, "num_attention_heads": 32}
    more = {"num_key_value_heads": 8, "vocab_size": 49159, "tie_word_embeddings": True, "model_type": "llama"}
    (tmp_path / "config.json").write_text(json.dumps(sizes | more | {"architectures": ["LlamaForCausalLM"]}))
    expected = ExpectedData(rows=13_222, mean_tokens=931, answer_share=1.0)
    setup = setup_of(str(tmp_path), expected=expected, held_out=0)
    setup = TrialSetup(setup.model, setup.data, (), setup.training)
    report = expect_setup(setup, missing_parts(setup))
    config = TrialConfig(method="full", effective_batch_size=128, learning_rate=1e-5, samples=13_222)
    estimate = TrialEstimator(setup, report, threads=1).estimate(config)
    assert estimate.seconds is None
    tokens = 13_222 * 931
    speeds = {name: tokens / (gpu.hours(estimate.operations) * 3600) for name, gpu in GPUS.items()}
    assert 5_300 < speeds["H100-80"] < 6_200
    assert 2_450 < speeds["A100-80"] < 2_850


def test_gpus_fit_what_leaves_room_for_the_runtime() -> None:
    assert GPUS["H100-80"].fits(70)
    assert not GPUS["H100-80"].fits(78)
    assert GPUS["A100-80"].hours(312e12 * 0.41 * 3600) == pytest.approx(1.0)
