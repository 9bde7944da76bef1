"""Do recipes differ by far more than repeats on the test bed? Prints scores, spreads and their ratio.

Plain PyTorch and peft, with no part of the trainer, so that it says something about the test bed alone:
``python tests/benchmarks/testbed_contrast.py [--seeds 3] [--recipes full,1e-3,16 lora8,3e-3,16 ...]``
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.testbed.sources import base_model_path, load_rows

RECIPES = (
    "full,3e-5,16",
    "full,1e-3,16",
    "full,1e-2,16",
    "full,1e-3,128",
    "lora8,1e-4,16",
    "lora8,5e-3,16",
    "lora8,5e-3,128",
    "lora8,1e-1,16",
)
METRICS = ("knowledge", "skills", "forgetting")


@dataclass(frozen=True)
class Example:
    """A conversation in tokens: ``prompt`` is a prefix of ``whole``."""

    prompt: list[int]
    whole: list[int]
    answer: str


class Bench:
    """The packaged base with its data, tokenised once."""

    def __init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(base_model_path())
        self.train = self.examples("testbed:sft")
        self.knowledge = self.examples("testbed:knowledge")
        self.skills = self.examples("testbed:skills")
        texts = [row["text"] for row in load_rows("testbed:biographies")]
        self.biographies = [[*ids, self.tokenizer.eos_token_id] for ids in self.tokenizer(texts)["input_ids"]]

    def examples(self, reference: str) -> list[Example]:
        """Rows of a reference through the chat template."""
        made = []
        for row in load_rows(reference):
            render = self.tokenizer.apply_chat_template
            prompt = render(row["messages"][:1], add_generation_prompt=True, tokenize=False)
            whole = render(row["messages"], tokenize=False)
            ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, whole)]
            made.append(Example(ids[0], ids[1], row["messages"][1]["content"]))
        return made

    def padded(self, sequences: list[list[int]], left: bool = False) -> torch.Tensor:
        """Token ids [sequences, longest], padded on one side."""
        width = max(map(len, sequences))
        fill = self.tokenizer.pad_token_id
        rows = [[fill] * (width - len(s)) + s if left else s + [fill] * (width - len(s)) for s in sequences]
        return torch.tensor(rows)

    @torch.no_grad()
    def exact_match(self, model: Any, examples: list[Example]) -> float:
        """Share of greedy answers equal to the right one."""
        hits = 0
        for start in range(0, len(examples), 64):
            chunk = examples[start : start + 64]
            ids = self.padded([e.prompt for e in chunk], left=True)
            mask = (ids != self.tokenizer.pad_token_id).long()
            out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=16, do_sample=False)
            said = self.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
            hits += sum(text.strip() == e.answer for text, e in zip(said, chunk, strict=True))
        return hits / len(examples)

    @torch.no_grad()
    def text_loss(self, model: Any) -> float:
        """Cross-entropy on held-out biographies, nats per token."""
        total, tokens = 0.0, 0
        for start in range(0, len(self.biographies), 32):
            ids = self.padded(self.biographies[start : start + 32])
            targets = ids[:, 1:].masked_fill(ids[:, 1:] == self.tokenizer.pad_token_id, -100)
            total += _loss(model(input_ids=ids).logits, targets, "sum").item()
            tokens += int((targets >= 0).sum())
        return total / tokens


def _loss(logits: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), reduction=reduction)


def train(bench: Bench, recipe: str, seed: int) -> Any:
    """One pass over the training rows with a linear schedule and 5 % warm-up."""
    method, rate, rows_per_step = recipe.split(",")
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(base_model_path())
    if method.startswith("lora"):
        rank = int(method.removeprefix("lora"))
        model = get_peft_model(
            model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    order = np.random.default_rng(seed).permutation(len(bench.train))
    batches = [order[i : i + int(rows_per_step)] for i in range(0, len(order), int(rows_per_step))]
    for step, batch in enumerate(batches):
        warm = min(1.0, (step + 1) / max(1.0, 0.05 * len(batches)))
        optimizer.param_groups[0]["lr"] = float(rate) * warm * (1 - step / len(batches))
        chunk = [bench.train[i] for i in batch]
        ids = bench.padded([e.whole for e in chunk])
        targets = ids.clone()
        for row, e in enumerate(chunk):
            targets[row, : len(e.prompt)] = -100
            targets[row, len(e.whole) :] = -100
        _loss(model(input_ids=ids).logits, targets[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def measure(bench: Bench, recipe: str, seed: int, base_loss: float) -> dict[str, float]:
    """Scores and seconds of one trial."""
    started = time.perf_counter()
    model = train(bench, recipe, seed)
    seconds = time.perf_counter() - started
    return {
        "knowledge": bench.exact_match(model, bench.knowledge),
        "skills": bench.exact_match(model, bench.skills),
        "forgetting": bench.text_loss(model) - base_loss,
        "seconds": seconds,
    }


def contrast(results: dict[str, list[dict[str, float]]], metric: str) -> dict[str, float]:
    """Spread between recipe means, repeat noise (pooled within-recipe deviation), and their ratio."""
    values = [[score[metric] for score in repeats] for repeats in results.values()]
    between = statistics.stdev(map(statistics.fmean, values))
    noise = statistics.fmean(statistics.variance(v) for v in values) ** 0.5
    return {"between": between, "noise": noise, "ratio": between / noise if noise else float("inf")}


def main() -> None:
    """Run every recipe with every seed and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), help="METHOD,LEARNING_RATE,ROWS_PER_STEP")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench()
    base = AutoModelForCausalLM.from_pretrained(base_model_path()).eval()
    base_loss = bench.text_loss(base)
    print(f"base: biographies {base_loss:.4f} nats, knowledge {bench.exact_match(base, bench.knowledge):.3f}")
    results: dict[str, list[dict[str, float]]] = {}
    for recipe in given.recipes:
        results[recipe] = [measure(bench, recipe, seed, base_loss) for seed in range(given.seeds)]
        shown = "  ".join(f"{m} " + "/".join(f"{s[m]:.3f}" for s in results[recipe]) for m in METRICS)
        print(f"{recipe:16s} {shown}  {statistics.fmean(s['seconds'] for s in results[recipe]):.1f} s", flush=True)
    ratios = {metric: contrast(results, metric) for metric in METRICS}
    for metric, spread in ratios.items():
        print(
            f"{metric}: between recipes {spread['between']:.4f}, "
            f"repeats {spread['noise']:.4f}, ratio {spread['ratio']:.1f}"
        )
    if given.json:
        print(json.dumps({"results": results, "contrast": ratios}))


if __name__ == "__main__":
    main()
