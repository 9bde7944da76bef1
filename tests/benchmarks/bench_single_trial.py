"""Samples per second of one trial against `transformers.Trainer`, with the loss curves compared.

``python tests/benchmarks/bench_single_trial.py [--steps 4] [--repeats 3] [--threads 1] [--json]``

Both train the same small Llama from the same weights on the same rows in the same order, with the same
effective batch size, learning rates, weight decay and clipping, on the same device. The rows have the
lengths of dolly (`ORCHESTRATOR_DATA`, default ``../shared/data``) under a GPT-NeoX tokenizer; without that
folder, the built-in test bed's data and base model are used. The two take turns, so that a busy machine hurts
both alike; processor seconds stand beside wall seconds for the same reason. The Trainer accumulates gradients
over micro-batches of ``--trainer-rows`` rows; of those given, its fastest counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import TrainingSettings
from orchestrator.training.data.plans.order import make_order
from orchestrator.training.loop.token_budgets import TokenBudgets
from orchestrator.training.loop.trial import Trial
from orchestrator.training.methods import MethodContext, build_method

DATA = Path(os.environ.get("ORCHESTRATOR_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LONGEST = 512


@dataclass
class Rows:
    """Token ids and answer masks in memory."""

    rows: list[tuple[np.ndarray, np.ndarray]]
    name: str

    def __post_init__(self) -> None:
        self.lengths = np.array([len(ids) for ids, _ in self.rows], dtype=np.int32)
        self.phases: dict[str, range] = {}
        self.replay: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.rows[index]


@dataclass
class Run:
    """One training: wall seconds, processor seconds, loss curve."""

    seconds: float
    processor_seconds: float
    losses: list[float]


class RowsInOrder(torch.utils.data.Dataset):
    """The same rows in a trial's order, as the Trainer wants them."""

    def __init__(self, rows: Rows, order: np.ndarray) -> None:
        self.rows, self.order = rows, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids, answer = self.rows[int(self.order[index])]
        return {"input_ids": ids.tolist(), "labels": np.where(answer, ids, -100).tolist()}


def dolly_rows(count: int) -> Rows:
    """Read dolly with a plain instruction layout; the answer and the end token are learned."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(DATA / "tokenizer_gptneox_pythia" / "20B_tokenizer.json"))
    records = json.loads((DATA / "dolly15k" / "public_training.json").read_text())[:count]
    rows = []
    for record in records:
        asked = "\n".join(part for part in (record["instruction"], record.get("context", "")) if part)
        prompt = tokenizer.encode(f"### Question\n{asked}\n### Answer\n").ids
        answer = [*tokenizer.encode(record.get("response") or record.get("output", "")).ids, 0]
        ids = np.array((prompt + answer)[:LONGEST], dtype=np.int32)
        mask = np.arange(len(ids)) >= len(prompt)
        if mask.any():
            rows.append((ids, mask))
    return Rows(rows, "dolly15k, GPT-NeoX tokenizer")


def testbed_rows(count: int) -> tuple[Rows, transformers.PreTrainedModel]:
    """Read the built-in test bed through a training session."""
    from orchestrator.settings.trial_setup import DataSettings, ModelSettings, TrialSetup
    from orchestrator.training.setup.session import TrainingSession

    setup = TrialSetup(ModelSettings("testbed"), DataSettings("testbed:sft", limit=count), (), TrainingSettings())
    with tempfile.TemporaryDirectory() as cache:
        session = TrainingSession(setup, Path(cache), device="cpu")
        data = session.parts.data.train
        rows = Rows([tuple(np.array(part) for part in data[index]) for index in range(len(data))], "test bed")
        return rows, session.base


def small_llama() -> transformers.PreTrainedModel:
    """Return a Llama of 4 layers, width 128, with the vocabulary of the GPT-NeoX tokenizer."""
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50_304,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=LONGEST,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def clone(model: Any) -> Any:
    """Return a copy of a model."""
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    return copy


def run_ours(rows: Rows, model: Any, config: TrialConfig, device: torch.device) -> Run:
    """Train with our loop."""
    method = build_method("full")
    trial = Trial(
        trial_id="bench",
        config=config,
        model=method.wrap_model(clone(model).to(device), MethodContext(steps=1)),
        method=method,
        data=rows,
        settings=TrainingSettings(precision="float32"),
        device=device,
        pad_token_id=0,
        budgets=TokenBudgets(),
    )
    began, processor = time.perf_counter(), time.process_time()
    signals = trial.advance(config.samples).signals
    losses = [signal.loss for signal in signals]
    return Run(time.perf_counter() - began, time.process_time() - processor, losses)


def run_trainer(
    rows: Rows, model: Any, config: TrialConfig, order: np.ndarray, device: torch.device, per_device: int, folder: str
) -> Run:
    """Train with transformers.Trainer."""
    arguments = transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=config.effective_batch_size // per_device,
        learning_rate=config.learning_rate,
        max_steps=config.samples // config.effective_batch_size,
        lr_scheduler_type="constant",
        weight_decay=config.weight_decay,
        adam_beta1=config.beta1,
        adam_beta2=config.beta2,
        adam_epsilon=config.epsilon,
        max_grad_norm=config.clip_norm or 0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=device.type == "cpu",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        optim="adamw_torch_fused",
        dataloader_pin_memory=device.type != "cpu",
    )
    losses = Losses()
    trainer = transformers.Trainer(
        model=clone(model),
        args=arguments,
        train_dataset=RowsInOrder(rows, order),
        data_collator=collate,
        callbacks=[losses],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    began, processor = time.perf_counter(), time.process_time()
    trainer.train()
    return Run(time.perf_counter() - began, time.process_time() - processor, losses.values)


class Losses(transformers.TrainerCallback):
    """Keeps the losses that the Trainer logs."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.values.append(float(logs["loss"]))


def collate(samples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-pad rows, as transformers' own collators do."""
    longest = max(len(sample["input_ids"]) for sample in samples)
    batch = {
        name: torch.tensor([sample[name] + [fill] * (longest - len(sample[name])) for sample in samples])
        for name, fill in (("input_ids", 0), ("labels", -100))
    }
    lengths = torch.tensor([len(sample["input_ids"]) for sample in samples])
    return {**batch, "attention_mask": (torch.arange(longest) < lengths[:, None]).long()}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Run both, taking turns, and return the figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples = options.steps * options.effective_batch_size
    if (DATA / "dolly15k").is_dir() and not options.testbed:
        rows, model = dolly_rows(max(2 * samples, 400)), small_llama()
    else:
        rows, model = testbed_rows(max(2 * samples, 400))
    config = TrialConfig("full", options.effective_batch_size, 1e-3, samples, weight_decay=0.1)
    order = make_order("stacked", rows, samples, config.seed).slice(0, samples)
    short = replace(config, samples=config.effective_batch_size)
    ours: list[Run] = []
    theirs: dict[int, list[Run]] = {size: [] for size in options.trainer_rows}
    with tempfile.TemporaryDirectory() as folder:
        run_ours(rows, model, short, device)  # warms allocators and imports up
        run_trainer(rows, model, short, order, device, options.trainer_rows[0], folder)
        for _ in range(options.repeats):
            ours.append(run_ours(rows, model, config, device))
            for size, runs in theirs.items():
                runs.append(run_trainer(rows, model, config, order, device, size, folder))
    best = min(theirs, key=lambda size: statistics.median(run.processor_seconds for run in theirs[size]))
    pairs = list(zip(ours, theirs[best], strict=True))
    ratios = [other.seconds / one.seconds for one, other in pairs]
    gaps = [abs(one - other) for one, other in zip(ours[-1].losses, theirs[best][-1].losses, strict=True)]
    return {
        "data": rows.name,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "parameters": sum(p.numel() for p in model.parameters()),
        "effective_batch_size": options.effective_batch_size,
        "steps": options.steps,
        "repeats": options.repeats,
        "samples_per_second": samples / statistics.median(run.seconds for run in ours),
        "trainer_samples_per_second": samples / statistics.median(run.seconds for run in theirs[best]),
        "trainer_rows_per_pass": best,
        "ratio": statistics.median(ratios),
        "ratio_spread": [min(ratios), max(ratios)],
        "ratio_of_processor_seconds": statistics.median(o.processor_seconds / u.processor_seconds for u, o in pairs),
        "largest_loss_difference": max(gaps),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--effective-batch-size", type=int, default=32)
    parser.add_argument("--trainer-rows", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--testbed", action="store_true", help="use the built-in data and base")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    figures = compare(options)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:>28}: {value:.4g}" if isinstance(value, float) else f"{name:>28}: {value}", file=sys.stdout)


if __name__ == "__main__":
    main()
