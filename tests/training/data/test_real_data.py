"""The real data sets and a really pretrained model; skipped where the data folder is absent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.errors import DataError
from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.data.chat_template import load_template
from orchestrator.training.data.formats import convert_rows
from orchestrator.training.data.sources import load_rows, load_texts, open_source
from orchestrator.training.data.token_rows import text_pieces, tokenise_conversations
from orchestrator.training.model.load import load_model
from orchestrator.training.setup.inspect import SetupReport, inspect_setup
from orchestrator.training.setup.session import TrainingSession

pytestmark = pytest.mark.real_data
BANKING = {"prompt": "text", "completion": "category"}


@pytest.fixture(scope="session")
def stories(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from convert_stories260k import convert

    folder = tmp_path_factory.mktemp("stories") / "stories260k"
    convert(real_data / "weights_stories260K", folder)
    return folder


@pytest.fixture(scope="session")
def neox_tokenizer(real_data: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    path = real_data / "tokenizer_gptneox_pythia" / "20B_tokenizer.json"
    return PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token="<|endoftext|>")


def inspect(stories: Path, cache: Path, sets: tuple[EvaluationSet, ...] = (), **data: Any) -> SetupReport:
    setup = TrialSetup(ModelSettings(str(stories)), DataSettings(**data), sets, TrainingSettings())
    return inspect_setup(setup, cache, device="cpu")


@pytest.mark.parametrize(
    ("path", "split", "shape", "rows"),
    [
        ("dolly15k", "train", "alpaca", 14_931),
        ("dolly15k/global_test.json", "train", "alpaca", 80),
        ("gsm8k", "train", "question_answer", 7_473),
        ("instructlab_taxonomy", "train", "messages", 97),
        ("instructlab_taxonomy/knowledge", "train", "messages", 30),
        ("gsm8k", "test", "question_answer", 1_319),
        ("instruct_1100/instruction-data.json", "train", "alpaca", 1_100),
        ("mmlu_1444/mmlu_test_1444.jsonl", "train", "alpaca", 1_444),
        ("mtbench/sharegpt_dummy_conversation.json", "train", "sharegpt", 500),
        ("llamafactory_demo/alpaca_en_demo.json", "train", "alpaca", 999),
        ("llamafactory_demo/identity.json", "train", "alpaca", 91),
        ("llamafactory_demo/glaive_toolcall_en_demo.json", "train", "sharegpt", 300),
        ("llamafactory_demo/v1_sft_demo.jsonl", "train", "messages", 500),
        ("torchtune_test_assets/alpaca_tiny.json", "train", "alpaca", 100),
        ("torchtune_test_assets/chat_tiny.json", "train", "sharegpt", 1),
    ],
)
def test_real_rows_are_read_in_their_shape(real_data: Path, path: str, split: str, shape: str, rows: int) -> None:
    converted = convert_rows(load_rows(str(real_data / path), split), "auto", {}, "error", path)
    assert (converted.shape, len(converted.conversations)) == (shape, rows)


def test_banking77_needs_its_columns_named(real_data: Path) -> None:
    rows = load_rows(str(real_data / "banking77"))
    with pytest.raises(DataError, match=r"columns: \{prompt: text, completion: category\}"):
        convert_rows(rows, "auto", {}, "error", "banking77")
    converted = convert_rows(rows, "auto", BANKING, "error", "banking77")
    assert len(converted.conversations) == 10_003
    assert len({conversation[-1].content for conversation in converted.conversations}) == 77


def test_preference_rows_without_answers_are_counted(real_data: Path) -> None:
    rows = load_rows(str(real_data / "llamafactory_demo" / "dpo_en_demo.json"))
    with pytest.raises(DataError, match=r"\d+ of 300 rows have no prompt or no answer"):
        convert_rows(rows, "auto", {}, "error", "dpo")


@pytest.mark.parametrize("name", ["dolly15k/local_training_0.json", "llamafactory_demo/glaive_toolcall_en_demo.json"])
def test_learned_tokens_of_a_real_tokenizer_are_exactly_the_answers(
    real_data: Path, neox_tokenizer: Any, name: str
) -> None:
    converted = convert_rows(load_rows(str(real_data / name), limit=300), "auto", {}, "error", name)
    template = load_template(neox_tokenizer, "auto", "neox")
    rows = tokenise_conversations(converted.conversations, converted.row_numbers, neox_tokenizer, template, name)
    for conversation, row in zip(converted.conversations, rows, strict=True):
        answers = "".join(f"{message.content}<|endoftext|>" for message in conversation if message.is_learned)
        # This tokenizer composes accents (NFC), so texts are compared through it.
        again = neox_tokenizer(answers, add_special_tokens=False)["input_ids"]
        assert neox_tokenizer.decode(row.ids[row.is_answer]) == neox_tokenizer.decode(again)


def test_inspection_of_dolly_counts_what_is_too_long(real_data: Path, stories: Path, tmp_path: Path) -> None:
    path = str(real_data / "dolly15k" / "public_training.json")
    with pytest.raises(DataError, match=r"\d+ of 1655 rows are longer than 512 tokens"):
        inspect(stories, tmp_path, train=path)
    wiki = EvaluationSet("wiki", "text_loss", str(real_data / "corpus_wikitext2" / "test.txt"), limit=8)
    report = inspect(stories, tmp_path, (wiki,), train=path, too_long="drop")
    assert report.data.rows_kept == report.data.rows_found - report.data.rows_too_long
    assert report.model.parameters == 260_032
    assert report.model.pads_with_end
    assert report.evaluation[0].tokens == 8 * 512


def test_converted_stories_model_predicts_its_own_kind_of_text(stories: Path) -> None:
    """A wrong layout of queries and keys would give neither a story nor a loss far below that of chance (6.2)."""
    settings = ModelSettings(str(stories))
    model: Any = load_model(settings, TrainingSettings(), torch.device("cpu"))
    from orchestrator.training.model.load import load_tokenizer

    tokenizer = load_tokenizer(settings)
    torch.manual_seed(0)
    with torch.no_grad():
        start = torch.full((16, 1), tokenizer.bos_token_id)
        samples = model.generate(start, max_new_tokens=255, do_sample=True, eos_token_id=None, top_k=0, pad_token_id=0)
        loss = float(model(samples, labels=samples).loss)
        greedy = model.generate(start[:1], max_new_tokens=60, do_sample=False, pad_token_id=0)
        text = (
            "<s>Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, "
        )
        text += "she saw a big dog. The dog was very happy and wanted to play with her."
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        written_loss = float(model(ids, labels=ids).loss)
    assert 1.1 < loss < 1.7
    assert written_loss < 1.2
    assert (
        tokenizer.decode(greedy[0], skip_special_tokens=True).strip().startswith("Once upon a time, there was a little")
    )


def test_stories_model_learns_real_instructions(real_data: Path, stories: Path, tmp_path: Path) -> None:
    data = DataSettings(str(real_data / "instruct_1100" / "instruction-data.json"))
    sets = (EvaluationSet("held"), EvaluationSet("match", "exact_match", limit=16, max_new_tokens=8))
    setup = TrialSetup(ModelSettings(str(stories)), data, sets, TrainingSettings())
    session = TrainingSession(setup, tmp_path, threads=1, device="cpu")
    trial = session.trial(TrialConfig("full", 16, 2e-3, 320), "t")
    trial.advance(320)
    assert trial.evaluate(final=True)["held/loss"] < session.base_scores()["held/loss"] - 0.8


def test_gutenberg_shards_are_read_book_by_book(real_data: Path, neox_tokenizer: Any) -> None:
    books = load_texts(open_source(str(real_data / "corpus_gutenberg" / "gutenberg-00.txt.gz")))
    assert len(books) > 3
    pieces = list(text_pieces(books, neox_tokenizer, 256, 20))
    assert [len(piece) for piece in pieces] == [256] * 20
    assert np.concatenate(pieces).max() < 50_277
