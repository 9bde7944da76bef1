"""Pretrain a small base model on shards of public-domain books: a second base, which has read real English.

``python tests/benchmarks/pretrain_gutenberg.py SHARD_FOLDER OUT [--shards 4]``; two runs on one machine give equal
weights. The tokenizer (byte-level BPE, chat template) is trained on the same text.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np

from orchestrator.testbed.pretrain import PretrainSettings, pretrain_on
from orchestrator.testbed.tokenizer import train_tokenizer

BOOK_END = "<|endoftext|>"
SLICE_CHARACTERS = 20_000
SIZES = PretrainSettings(
    steps=1200, rows_per_step=16, vocabulary_size=2048, hidden_size=96, feed_forward_size=256, learning_rate=8e-3
)


def read_slices(shards: list[Path]) -> list[str]:
    """Return the books of gzip shards in slices of about `SLICE_CHARACTERS` characters."""
    slices = []
    for shard in shards:
        for book in gzip.decompress(shard.read_bytes()).decode("utf-8", errors="replace").split(BOOK_END):
            text = " ".join(book.split())
            slices.extend(text[start : start + SLICE_CHARACTERS] for start in range(0, len(text), SLICE_CHARACTERS))
    return slices


def main() -> None:
    """Pretrain and write the Hugging Face folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of gutenberg-*.txt.gz")
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, default=4)
    for field in fields(PretrainSettings):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=getattr(SIZES, field.name)
        )
    given = vars(parser.parse_args())
    shards = sorted(given["folder"].glob("*.txt.gz"))[: given["shards"]]
    if not shards:
        raise SystemExit(f"{given['folder']}: no *.txt.gz in this folder; name the folder of the shards")
    settings = PretrainSettings(**{field.name: given[field.name] for field in fields(PretrainSettings)})
    slices = read_slices(shards)
    tokenizer = train_tokenizer(slices[::8], settings.vocabulary_size, settings.maximum_positions)
    length = settings.sequence_length
    documents = [
        np.asarray(ids[start : start + length], np.int64)
        for ids in tokenizer(slices)["input_ids"]
        for start in range(0, len(ids), length)
    ]
    provenance = {
        "command": "python tests/benchmarks/pretrain_gutenberg.py",
        "shards": {shard.name: hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards},
    }
    record = pretrain_on(documents, tokenizer, settings, given["out"], provenance)
    print(f"{given['out']}: {record['parameters']:,} parameters, last loss {record['final_loss']} nats per token")


if __name__ == "__main__":
    main()
