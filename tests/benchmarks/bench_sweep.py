"""Whole sweeps: slot utilisation against Ray Tune + transformers.Trainer, warm trial start, overhead of tracking.

Both sides train the same number of trials of the same model (the test bed's base) on the same rows with the
same effective batch size, on the same slots, one thread per slot, after Ray has been started. Utilisation is
training seconds / (slots x wall seconds of the sweep), worker start included.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.benchmarks.common import Figure, machine, median, print_figures

TRIALS = 20
BATCH = 8


def sweep_file(folder: Path, samples: int, tracking: bool) -> Any:
    """Return a sweep of `TRIALS` equal trials that differ in their learning rate; nothing is stopped."""
    from orchestrator.spec.loading import parse_sweep

    rates = [1e-4 * 1.1**step for step in range(TRIALS)]
    return parse_sweep(
        {
            "name": "bench",
            "model": "testbed",
            "data": {"train": "testbed:sft", "held_out": 0.1},
            "evaluation": [{"name": "eval", "data": "held_out", "limit": 64, "when": "end"}],
            "search_space": {
                "method": "full",
                "effective_batch_size": BATCH,
                "learning_rate": rates,
                "any_learning_rate": True,
            },
            "searcher": "grid",
            "budget": {"samples": samples},
            "milestones": [0.5, 1.0],
            "stopping": {"rungs": {"enabled": False}},
            "tracking": {"enabled": tracking},
            "storage": str(folder),
        }
    )


def ours(samples: int, tracking: bool) -> dict[str, float]:
    """Run our sweep in a process of its own; returns utilisation, wall seconds and the warm start."""
    return _in_process("ours", samples, tracking)


def rival(samples: int) -> dict[str, float]:
    """Run the same trials with Ray Tune's function trainable and transformers.Trainer."""
    return _in_process("rival", samples, False)


def _in_process(side: str, samples: int, tracking: bool) -> dict[str, float]:
    import subprocess
    import sys

    command = [sys.executable, "-m", "tests.benchmarks.bench_sweep", "--side", side, "--samples", str(samples)]
    done = subprocess.run([*command, *(["--tracking"] if tracking else [])], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    values: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return values


def run_ours(samples: int, tracking: bool) -> dict[str, float]:
    """One run of ours."""
    from orchestrator import run_sweep
    from tests.worlds.journals.lines import journal_lines

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = run_sweep(sweep_file(Path(folder), samples, tracking))
        wall = time.perf_counter() - began
        setups = [
            r["setup_seconds"]
            for r in journal_lines(Path(folder) / "bench" / "journal.jsonl")
            if r["kind"] == "milestone" and r["index"] == 0
        ]
    warm = sorted(setups)[: len(setups) - result.slots]
    return {
        "utilisation": result.utilisation,
        "work_share": result.work_share,
        "wall": wall,
        "sweep_wall": result.slot_seconds / result.slots,
        "trial_seconds": result.training_seconds / TRIALS,
        "warm_start": median(warm),
    }


def run_rival(samples: int) -> dict[str, float]:
    """One run of Ray Tune + transformers.Trainer, as their documentation shows it."""
    import ray
    from ray import tune

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    slots = 2
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_train_with_trainer, samples=samples), {"cpu": 1}),
            param_space={"learning_rate": tune.grid_search([1e-4 * 1.1**step for step in range(TRIALS)])},
            tune_config=tune.TuneConfig(max_concurrent_trials=slots),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        began = time.perf_counter()
        results = tuner.fit()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials of the rival failed: {results.errors[0]}")
        wall = time.perf_counter() - began
        training = sum(result.metrics["training_seconds"] for result in results)
        ray.shutdown()
    return {"utilisation": training / (slots * wall), "sweep_wall": wall, "trial_seconds": training / TRIALS}


def _train_with_trainer(config: dict[str, float], samples: int) -> None:
    import torch
    from ray import tune
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from orchestrator.testbed.sources import base_model_path, load_rows

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    model = AutoModelForCausalLM.from_pretrained(base_model_path())
    rows = [_encode(tokenizer, row["messages"]) for row in load_rows("testbed:sft")]
    cut = len(rows) // 10
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=samples // BATCH,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=32,
            learning_rate=config["learning_rate"],
            lr_scheduler_type="constant",
            report_to=[],
            save_strategy="no",
            logging_steps=10,
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows[cut:],
            eval_dataset=rows[:64],
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        loss = trainer.evaluate()["eval_loss"]
    tune.report({"training_seconds": seconds, "eval_loss": loss})


def _encode(tokenizer: Any, messages: list[dict[str, str]]) -> dict[str, list[int]]:
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    return {
        "input_ids": whole,
        "attention_mask": [1] * len(whole),
        "labels": [-100] * len(prompt) + whole[len(prompt) :],
    }


def figures(repeats: int, samples: int, rival_samples: int) -> list[Figure]:
    """Return utilisation, warm start and tracking overhead, runs of all sides interleaved."""
    with_tracking, without, theirs = [], [], []
    for _ in range(repeats):
        with_tracking.append(ours(samples, tracking=True))
        without.append(ours(samples, tracking=False))
        theirs.append(rival(rival_samples))
    mine = [run["utilisation"] for run in with_tracking]
    others = [run["utilisation"] for run in theirs]
    overheads = [w["sweep_wall"] / o["sweep_wall"] for w, o in zip(with_tracking, without, strict=True)]
    starts = [run["warm_start"] for run in with_tracking]
    return [
        Figure(
            "slot utilisation",
            median(mine),
            tuple(mine),
            "",
            ">= 0.95",
            median(mine) >= 0.95,
            median(others),
            tuple(others),
            median(mine) / median(others),
            f"{TRIALS} trials of {median([r['trial_seconds'] for r in with_tracking]):.1f} s (rival "
            f"{median([r['trial_seconds'] for r in theirs]):.1f} s), worker start included; training and evaluation "
            f"together {median([r['work_share'] for r in with_tracking]):.3f}",
        ),
        Figure(
            "tracking overhead (wall with / without)",
            median(overheads),
            tuple(overheads),
            "",
            "<= 1.02",
            median(overheads) <= 1.02,
        ),
        Figure("trial start in a warm worker", median(starts), tuple(starts), "s", "<= 0.3 s", median(starts) <= 0.3),
    ]


def main() -> None:
    """Run the benchmark, or one side of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=["ours", "rival"])
    parser.add_argument("--tracking", action="store_true")
    parser.add_argument("--samples", type=int, default=6000, help="samples per trial (about 10 s on one core)")
    parser.add_argument("--rival-samples", type=int, default=4500, help="samples per trial of the rival (about 10 s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.side == "ours":
        print(json.dumps(run_ours(options.samples, options.tracking)))
    elif options.side == "rival":
        print(json.dumps(run_rival(options.samples)))
    else:
        print(machine())
        found = figures(options.repeats, options.samples, options.rival_samples)
        print_figures(found)
        if options.json:
            print(json.dumps([figure.as_dict() for figure in found]))


if __name__ == "__main__":
    main()
