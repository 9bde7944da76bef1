"""A tiny base model, a tokenizer and data on disk, and the command line called in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.records import Outcome
from orchestrator.storage.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Trained:
    """A finished sweep and the ids of its trials."""

    folder: SweepFolder
    full: str
    lora: str
    stopped: str


@pytest.fixture
def orchestrate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call the command as a shell would, without the seconds of a new interpreter."""
    from orchestrator import cli

    def call(*words: object) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["orchestrate", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return Answer(code, shown.out, shown.err)

    return call


WORDS = [f"w{number}" for number in range(40)]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers and a word tokenizer, saved as people save models."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base")
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def write_sweep(tiny_base: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep file (fields may be changed) beside sixty rows of prompt and completion."""
    rows = [{"prompt": " ".join(WORDS[n % 30 : n % 30 + 4]), "completion": WORDS[n % 17]} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(**changes: Any) -> Path:
        values = {
            "name": "tiny",
            "model": str(tiny_base),
            "data": {"train": str(tmp_path / "rows.jsonl"), "held_out": 10},
            "search_space": {
                "method": {"full": {"learning_rate": [1e-5, 1e-4]}, "lora": {"r": 4, "learning_rate": 1e-3}},
                "effective_batch_size": [4, 8],
                "warmup": {"ratio": 0.1},
            },
            "searcher": "grid",
            "budget": {"samples": 40},
            "storage": str(tmp_path / "runs"),
            **changes,
        }
        file = tmp_path / "sweep.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False))
        return file

    return write


@pytest.fixture(scope="session")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A finished sweep: full fine-tuning wins, lora completed, another was stopped. Tests only read it."""
    from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows

    folder = tmp_path_factory.mktemp("trained")
    sweep = Driverless(tiny_spec(tiny_base, write_rows(folder / "rows.jsonl"), folder / "runs"))
    full = sweep.train(config("full", 3e-3))
    lora = sweep.train(config("lora", 1e-2, r=4))
    stopped = sweep.train(config("full", 1e-3), milestones=1, outcome=Outcome.STOPPED)
    return Trained(sweep.end(), full, lora, stopped)
