"""Convert the stories260K weights (llama2.c layout) to a Hugging Face folder.

``python tests/benchmarks/convert_stories260k.py SOURCE_FOLDER TARGET_FOLDER`` reads ``stories260K.bin`` and
``tok512.bin`` and writes a Llama model with its tokenizer.

llama2.c rotates neighbouring pairs of a head (0,1), (2,3), ...; Hugging Face rotates (0, d/2), (1, d/2 + 1), ...
The rows of the query and key projections are therefore permuted within each head.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Floats = NDArray[np.float32]


class Header(NamedTuple):
    """The seven int32 of the file header; a positive vocabulary means tied embeddings."""

    dim: int
    hidden_dim: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    sequence: int


def convert(source: Path, target: Path) -> None:
    """Write the Hugging Face folder."""
    header, floats = read_weights(source / "stories260K.bin")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=abs(header.vocabulary),
            hidden_size=header.dim,
            intermediate_size=header.hidden_dim,
            num_hidden_layers=header.layers,
            num_attention_heads=header.heads,
            num_key_value_heads=header.kv_heads,
            max_position_embeddings=header.sequence,
            rms_norm_eps=1e-5,
            tie_word_embeddings=header.vocabulary > 0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    state = {name: torch.from_numpy(value.copy()) for name, value in name_weights(header, floats).items()}
    model.model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    model.tie_weights()
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    read_tokenizer(source / "tok512.bin", abs(header.vocabulary), header.sequence).save_pretrained(target)


def read_weights(path: Path) -> tuple[Header, Floats]:
    """Return header and all weights, float32 ``[n]``, in the order of the file."""
    content = path.read_bytes()
    header = Header(*struct.unpack("7i", content[:28]))
    return header, np.frombuffer(content, dtype=np.float32, offset=28)


def name_weights(header: Header, floats: Floats) -> dict[str, Floats]:
    """Cut the weights into Hugging Face's tensors; the file holds each kind for all layers together."""
    dim, hidden, layers = header.dim, header.hidden_dim, header.layers
    kv_dim = dim // header.heads * header.kv_heads
    kinds: list[tuple[str, tuple[int, ...]]] = [
        ("input_layernorm", (dim,)),
        ("self_attn.q_proj", (dim, dim)),
        ("self_attn.k_proj", (kv_dim, dim)),
        ("self_attn.v_proj", (kv_dim, dim)),
        ("self_attn.o_proj", (dim, dim)),
        ("post_attention_layernorm", (dim,)),
        ("mlp.gate_proj", (hidden, dim)),
        ("mlp.down_proj", (dim, hidden)),
        ("mlp.up_proj", (hidden, dim)),
    ]
    place = abs(header.vocabulary) * dim
    tensors = {"model.embed_tokens.weight": floats[:place].reshape(-1, dim)}
    for kind, shape in kinds:
        size = int(np.prod(shape))
        for layer in range(layers):
            tensor = floats[place : place + size].reshape(shape)
            place += size
            if kind.endswith(("q_proj", "k_proj")):
                tensor = halves_first(tensor, header.heads if kind.endswith("q_proj") else header.kv_heads)
            tensors[f"model.layers.{layer}.{kind}.weight"] = tensor
    tensors["model.norm.weight"] = floats[place : place + dim]
    return tensors


def halves_first(weight: Floats, heads: int) -> Floats:
    """Permute the rows of each head from pairs (even, odd) to halves (all even rows, then all odd rows)."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).transpose(0, 2, 1, 3).reshape(rows, width)


def read_tokenizer(path: Path, vocabulary: int, sequence: int) -> Any:
    """Return the tokenizer: greedy merging of the pair with the best score, as byte-pair encoding by rank."""
    content = path.read_bytes()
    pieces: list[tuple[str, float]] = []
    place = 4
    for _ in range(vocabulary):
        score, length = struct.unpack_from("fi", content, place)
        place += 8
        pieces.append((content[place : place + length].decode("utf-8"), score))
        place += length
    pieces[0], pieces[1], pieces[2] = ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)
    words = {piece.replace(" ", "▁") if number > 258 else piece: number for number, (piece, _) in enumerate(pieces)}
    bpe = Tokenizer(models.BPE(words, merges_of(words, pieces), byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bpe.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=sequence,
        clean_up_tokenization_spaces=False,
    )


def merges_of(words: dict[str, int], pieces: list[tuple[str, float]]) -> list[tuple[str, str]]:
    """Return every pair of pieces whose union is a piece, the best score of the union first."""
    found = []
    for word, number in words.items():
        for cut in range(1, len(word) if number > 258 else 1):
            left, right = word[:cut], word[cut:]
            if left in words and right in words:
                found.append((-pieces[number][1], number, (left, right)))
    return [pair for _, _, pair in sorted(found)]


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
