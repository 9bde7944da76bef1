from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import ModelError
from orchestrator.settings.trial_setup import ModelSettings, TrainingSettings
from orchestrator.training.model import hub
from orchestrator.training.model.load import (
    count_parameters,
    fresh_copy,
    load_config,
    load_model,
    load_tokenizer,
    model_length_limit,
    padding_id,
    tokenizer_digest,
    weights_digest,
)
from orchestrator.training.setup.parts import load_tokens

CPU = torch.device("cpu")


def load(folder: Path, **options: Any) -> Any:
    return load_model(ModelSettings(str(folder), **options), TrainingSettings(), CPU)


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_load_model_reads_a_local_folder(model_folder: Path) -> None:
    model = load(model_folder)
    assert next(model.parameters()).dtype == torch.float32
    assert not model.training
    assert model.config._attn_implementation == "sdpa"
    assert load(model_folder, attention="eager").config._attn_implementation == "eager"
    settings = ModelSettings(str(model_folder))
    half = load_model(settings, TrainingSettings(precision="bfloat16"), CPU)
    assert next(half.parameters()).dtype == torch.bfloat16
    config = load_config(settings)
    assert model_length_limit(config) == 128
    assert count_parameters(config, settings) == (sum(p.numel() for p in model.parameters()), "LlamaForCausalLM")


def test_load_model_prints_nothing(model_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(model_folder)
    load_tokenizer(ModelSettings(str(model_folder)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tyni", r"no such model folder. Did you mean 'tiny'"),
        ("tiny/config.json", "must be a folder or a hub id, not a file"),
        ("", r"holds no config.json.*Perhaps .*tiny is meant"),
    ],
)
def test_load_config_names_a_missing_model(model_folder: Path, path: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_config(ModelSettings(str(model_folder.parent / path)))


def test_load_config_out_of_reach_of_the_hub_is_one_quick_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.is_reachable.cache_clear()
    try:
        with pytest.raises(ModelError, match="neither cached nor can the hub be reached"):
            load_config(ModelSettings("nobody/no-such-model"))
    finally:
        hub.is_reachable.cache_clear()


def test_load_model_refuses_pickled_weights(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no weights"):
        load(model_folder)
    (model_folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"pytorch_model.bin, a pickle file.*Convert it once"):
        load(model_folder)


def test_load_model_refuses_damaged_and_incomplete_weights(model_folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = model_folder / "model.safetensors"
    state = load_file(path)
    state.pop("model.norm.weight")
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors that the model needs, such as model.norm.weight"):
        load(model_folder)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match="damaged weights"):
        load(model_folder)


def test_a_model_that_wants_remote_code_is_refused(model_folder: Path) -> None:
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edit(model_folder / "config.json", model_type="own_model", auto_map=auto_map)
    (model_folder / "own.py").write_text("raise RuntimeError('this code must never run')")
    with pytest.raises(ModelError, match=r"needs Python code.*Set model.trust_remote_code: true"):
        load_config(ModelSettings(str(model_folder)))


def test_load_config_refuses_what_is_no_causal_language_model(model_folder: Path) -> None:
    edit(model_folder / "config.json", model_type="t5", architectures=["T5ForConditionalGeneration"])
    with pytest.raises(ModelError, match="no causal language model"):
        load_config(ModelSettings(str(model_folder)))
    edit(model_folder / "config.json", model_type="never_heard_of")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_config(ModelSettings(str(model_folder)))


def test_load_tokens_refuses_a_tokenizer_larger_than_the_embeddings(model_folder: Path) -> None:
    edit(model_folder / "config.json", vocab_size=300)
    with pytest.raises(ModelError, match=r"token ids up to \d+, the model has embeddings for 300 tokens"):
        load_tokens(ModelSettings(str(model_folder)))


def test_load_tokenizer_names_a_missing_tokenizer(model_folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model_folder / name).unlink()
    with pytest.raises(ModelError, match="tokenizer: "):
        load_tokenizer(ModelSettings(str(model_folder)))


def test_padding_id_falls_back_on_the_end_of_sequence() -> None:
    from tests.worlds.tiny_models import build_tokenizer

    assert padding_id(build_tokenizer()) == 0
    assert padding_id(build_tokenizer(pad_token=None)) == 1


def test_fresh_copy_shares_nothing_and_keeps_ties() -> None:
    from tests.worlds.tiny_models import build_model

    base = build_model(tie_word_embeddings=True)
    copied = fresh_copy(base, CPU)
    assert copied.lm_head.weight is copied.model.embed_tokens.weight
    addresses = {p.data_ptr() for p in base.parameters()} | {b.data_ptr() for b in base.buffers()}
    assert not addresses & {t.data_ptr() for t in [*copied.parameters(), *copied.buffers()]}
    ids = torch.arange(8).unsqueeze(0)
    expected = base(ids).logits
    torch.testing.assert_close(copied(ids).logits, expected, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    torch.testing.assert_close(base(ids).logits, expected, rtol=0, atol=0)


def test_digests_tell_models_and_tokenizers_apart(model_folder: Path, tokenizer: Any) -> None:
    from tests.worlds.tiny_models import build_model, build_tokenizer

    before = weights_digest(str(model_folder), None)
    assert before == weights_digest(str(model_folder), None)
    model = build_model()
    with torch.no_grad():
        model.model.norm.weight += 1
    model.save_pretrained(model_folder)
    assert weights_digest(str(model_folder), None) != before
    assert weights_digest("a/b", "main") != weights_digest("a/b", "v2")
    assert tokenizer_digest(tokenizer) == tokenizer_digest(load_tokenizer(ModelSettings(str(model_folder))))
    assert tokenizer_digest(tokenizer) != tokenizer_digest(build_tokenizer(eos_token="<|im_end|>"))
