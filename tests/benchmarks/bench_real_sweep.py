"""Real sweeps, same machine, one after the other: no stopping, Ray Tune + ASHA + transformers.Trainer, and ours.

All three get the same configurations, data, held-out rows, milestones, slots and one thread a slot. Printed: wall seconds
from the call to the result, samples trained, and the winner. What a winner is worth is looked up in the sweep without
stopping, which trained every configuration to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.benchmarks.bench_stopping import print_table
from tests.benchmarks.bench_sweep import _encode as encode
from tests.benchmarks.common import machine

RATES = [1e-4, 3e-4, 6e-4, 1e-3, 2e-3, 4e-3, 8e-3, 2e-2]
BATCHES = [8, 32, 128]
SHARES = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]
HELD_OUT, SLOTS = 128, 2
SIDES = ("no stopping", "Ray Tune + ASHA + Trainer", "ours")


def sweep_file(folder: Path, samples: int, name: str) -> Any:
    """Return our sweep; its searcher takes the grid in a fixed order, and the engine does not mind the order."""
    from orchestrator.spec.loading import parse_sweep

    return parse_sweep(
        {
            "name": name,
            "model": "testbed",
            "data": {"train": "testbed:sft", "held_out": HELD_OUT},
            "evaluation": [{"name": "eval", "data": "held_out"}],
            "search_space": {
                "method": "full",
                "effective_batch_size": BATCHES,
                "learning_rate": RATES,
                "any_learning_rate": True,
            },
            "searcher": "grid",
            "budget": {"samples": samples},
            "milestones": SHARES,
            "tracking": {"enabled": name == "ours"},
            "storage": str(folder),
        }
    )


def run_ours(samples: int, record: bool) -> dict[str, Any]:
    """Run our sweep, with or without stopping."""
    from orchestrator import run_sweep

    with tempfile.TemporaryDirectory() as folder:
        result = run_sweep(sweep_file(Path(folder), samples, "all" if record else "ours"), record=record)
    assert result.winner is not None
    finals = {_name(t.config.learning_rate, t.config.effective_batch_size): t.objective for t in result.trials}
    winner = _name(result.winner.config.learning_rate, result.winner.config.effective_batch_size)
    return {"samples": result.samples_trained, "winner": winner, "finals": finals}


def run_rival(samples: int, seed: int) -> dict[str, Any]:
    """Run Ray Tune with ASHA on the held-out loss and transformers.Trainer, as their documentation shows it."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    configs = [{"learning_rate": rate, "effective_batch_size": size} for rate in RATES for size in BATCHES]
    random.Random(seed).shuffle(configs)
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
        scheduler = ASHAScheduler(
            time_attr="samples",
            metric="eval_loss",
            mode="min",
            max_t=samples,
            grace_period=int(samples * SHARES[0]),
            reduction_factor=4,
        )
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(_train, samples=samples), {"cpu": 1}),
            param_space={"config": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(max_concurrent_trials=SLOTS, scheduler=scheduler),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials of the rival failed: {results.errors[0]}")
        trained = sum(result.metrics["samples"] for result in results)
        # The best of those that came farthest: a loss after 1/32 of training is no result.
        farthest = max(result.metrics["samples"] for result in results)
        done = [result for result in results if result.metrics["samples"] >= 0.95 * farthest]
        best = min(done, key=lambda result: result.metrics["eval_loss"])
        ray.shutdown()
    chosen = best.config["config"]
    return {"samples": trained, "winner": _name(chosen["learning_rate"], chosen["effective_batch_size"])}


def _train(config: dict[str, Any], samples: int) -> None:
    import torch
    from ray import tune
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from orchestrator.testbed.sources import base_model_path, load_rows

    torch.set_num_threads(1)
    size = config["config"]["effective_batch_size"]
    steps = sorted({max(1, round(share * samples / size)) for share in SHARES})

    class AtMilestones(TrainerCallback):  # type: ignore[misc]
        """Evaluates at the milestones and reports to Tune."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_evaluate = state.global_step in steps
            return control

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
            tune.report({"samples": state.global_step * size, "eval_loss": metrics["eval_loss"]})

    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    rows = [encode(tokenizer, row["messages"]) for row in load_rows("testbed:sft")]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps[-1],
            per_device_train_batch_size=size,
            per_device_eval_batch_size=32,
            learning_rate=config["config"]["learning_rate"],
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            report_to=[],
            save_strategy="no",
            logging_steps=10,
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(
            model=AutoModelForCausalLM.from_pretrained(base_model_path()),
            args=arguments,
            train_dataset=rows[HELD_OUT:],
            eval_dataset=rows[:HELD_OUT],
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
            callbacks=[AtMilestones()],
        ).train()


def _name(rate: float, size: int) -> str:
    return f"lr {rate:g} ebs {size}"


def _in_process(side: str, samples: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_real_sweep", "--side", side]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--samples", str(samples), "--seed", str(seed)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    values: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**values, "wall": time.perf_counter() - began}


def main() -> None:
    """Run the benchmark, or one side of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--samples", type=int, default=6144, help="samples of a whole trial")
    parser.add_argument("--seed", type=int, default=0, help="order of the rival's trials")
    parser.add_argument("--repeats", type=int, default=2, help="runs of ours and of the rival")
    options = parser.parse_args()
    if options.side == SIDES[1]:
        print(json.dumps(run_rival(options.samples, options.seed)))
    elif options.side is not None:
        print(json.dumps(run_ours(options.samples, record=options.side == SIDES[0])))
    else:
        print(machine(), flush=True)
        whole = _in_process(SIDES[0], options.samples, 0)
        runs = [(SIDES[0], whole)]
        for seed in range(options.repeats):
            runs += [(side, _in_process(side, options.samples, seed)) for side in SIDES[1:]]
        finals = {name: value for name, value in whole["finals"].items() if value is not None}
        order = sorted(finals, key=finals.__getitem__)
        rows = [["sweep", "wall", "samples", "of all", "winner", "its held-out loss", "regret", "its rank"]]
        for side, run in runs:
            loss = finals[run["winner"]]
            rows.append(
                [
                    side,
                    f"{run['wall']:.0f} s",
                    f"{run['samples']:,}",
                    f"{run['samples'] / whole['samples']:.2f}",
                    run["winner"],
                    f"{loss:.4f}",
                    f"{loss - finals[order[0]]:.4f}",
                    f"{order.index(run['winner']) + 1} of {len(order)}",
                ]
            )
        print_table(f"{len(finals)} configurations of {options.samples:,} samples on {SLOTS} slots", rows)


if __name__ == "__main__":
    main()
