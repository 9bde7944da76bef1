import json

import numpy as np
import pytest

from orchestrator.testbed.pretrain_text import pretraining_texts
from orchestrator.testbed.sources import base_model_path, load_rows
from orchestrator.testbed.world import WorldSpec

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(base_model_path())


@pytest.fixture(scope="module")
def base():
    return transformers.AutoModelForCausalLM.from_pretrained(base_model_path()).eval()


@torch.no_grad()
def text_loss(model, tokenizer, texts):
    total = tokens = 0.0
    for text in texts:
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        total += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return total / tokens


def test_base_is_small_and_within_its_parameter_range(base):
    folder = base_model_path()
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000
    assert 1_000_000 <= base.num_parameters() <= 3_000_000
    assert (folder / "model.safetensors").is_file()
    assert base.generation_config.eos_token_id == base.config.eos_token_id


def test_base_provenance_names_the_default_world(base):
    provenance = json.loads((base_model_path() / "provenance.json").read_text())
    spec = WorldSpec()
    assert provenance["world"] == {name: getattr(spec, name) for name in provenance["world"]}
    assert provenance["parameters"] == base.num_parameters()


def test_base_knows_biographies_in_unseen_wordings(base, tokenizer):
    texts = [row["text"] for row in load_rows("testbed:biographies?rows=12")]
    torch.manual_seed(0)
    untrained = transformers.AutoModelForCausalLM.from_config(base.config).eval()
    loss = text_loss(base, tokenizer, texts)
    assert loss < 0.7
    assert loss < 0.25 * text_loss(untrained, tokenizer, texts)


def test_base_knows_these_people_and_not_those_of_another_seed(base, tokenizer):
    ours = [row["text"] for row in load_rows("testbed:biographies?rows=12")]
    strangers = [row["text"] for row in load_rows("testbed:biographies?rows=12&seed=7")]
    assert text_loss(base, tokenizer, ours) + 0.5 < text_loss(base, tokenizer, strangers)


def test_tokenizer_round_trips_texts_of_the_world_and_foreign_text(tokenizer):
    samples = [*pretraining_texts(WorldSpec(people=8, variants=2)), "Zoë paid 12,50 €!\n\tOK  fine_", ""]
    for text in samples:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_tokenizer_has_its_specials_and_splits_digits_singly(tokenizer):
    assert tokenizer.pad_token_id is not None
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert len(tokenizer) <= 2048
    assert [t for t in tokenizer.tokenize("1984") if t.isdigit()] == ["1", "9", "8", "4"]


@pytest.mark.parametrize("reference", ["testbed:sft?rows=40", "testbed:knowledge?rows=20", "testbed:skills?rows=21"])
def test_chat_template_prompt_is_a_prefix_in_text_and_in_tokens(tokenizer, reference):
    for row in load_rows(reference):
        prompt = tokenizer.apply_chat_template(row["messages"][:1], add_generation_prompt=True, tokenize=False)
        whole = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        assert whole.startswith(prompt)
        assert whole.endswith(tokenizer.eos_token)
        prompt_ids, ids = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, whole))
        assert ids[: len(prompt_ids)] == prompt_ids
        answer = tokenizer.decode(ids[len(prompt_ids) :], skip_special_tokens=True)
        assert answer.strip() == row["messages"][1]["content"]


def test_answers_begin_with_the_tokens_that_texts_have(tokenizer):
    assert tokenizer.tokenize("<|assistant|> Fenwick")[1:] == tokenizer.tokenize("in Fenwick")[1:]


def test_pretrain_is_deterministic_and_writes_a_loadable_folder(tmp_path):
    from orchestrator.testbed.pretrain import main

    sizes = ["--people", "6", "--variants", "4", "--steps", "3", "--hidden-size", "16", "--layers", "1"]
    sizes += ["--heads", "2", "--feed-forward-size", "32", "--rows-per-step", "2", "--threads", "1"]
    for name in ("one", "two"):
        main(["--out", str(tmp_path / name), *sizes])
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    assert model.config.hidden_size == 16


def test_pretrain_takes_a_corpus_smaller_than_one_step(tmp_path):
    from orchestrator.testbed.pretrain import PretrainSettings, pretrain

    sizes = PretrainSettings(steps=2, hidden_size=16, layers=1, heads=2, feed_forward_size=32, rows_per_step=64)
    record = pretrain(WorldSpec(people=4, variants=1), sizes, tmp_path / "tiny")
    assert record["documents"] == 8


def test_pack_rows_keeps_every_document_whole_and_once():
    from orchestrator.testbed.pretrain import pack_rows

    rng = np.random.default_rng(0)
    documents = [np.full(n, i + 1) for i, n in enumerate(rng.integers(1, 40, 50))]
    rows = pack_rows(documents, 64, 0)
    for i, document in enumerate(documents):
        places = np.argwhere(rows == i + 1)
        assert len(places) == len(document)
        assert len(set(places[:, 0])) == 1
        assert np.ptp(places[:, 1]) == len(document) - 1
