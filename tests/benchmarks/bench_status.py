"""Seconds of ``orchestrate status`` on a synthetic sweep of 1,000 trials, the start of its process included.

The journal has the records of a real one, byte for byte of their size: every trial is trained to its end through six
milestones and is decided upon at each, so that no sweep of as many trials has a longer journal. Medians of ``--rounds`` runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from orchestrator.spec.loading import load_sweep
from orchestrator.spec.sweep import SweepSpec
from tests.benchmarks.common import machine

LEVELS = (128, 256, 512, 1024, 2048, 4096)
QUICKSTART = Path(__file__).resolve().parents[2] / "search_spaces" / "quickstart.yaml"


def write_sweep(storage: Path, name: str, trials: int, ended: bool = True) -> Path:
    """Write the journal of a sweep that was never run; return its file."""
    spec = load_sweep(QUICKSTART, [f"name={name}"])
    journal = storage / name / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    with journal.open("w") as file:
        for number, record in enumerate(_records(spec, trials, ended)):
            file.write(json.dumps({"kind": record[0], "time": 1.7e9 + number, "epoch": 1, **record[1]}) + "\n")
    return journal


def _records(spec: SweepSpec, trials: int, ended: bool) -> list[tuple[str, dict[str, Any]]]:
    plan = {"trials": trials, "samples": LEVELS[-1], "levels": LEVELS, "rung_indices": [0, 1, 2, 3, 4]}
    inputs = {"training data": "0" * 32, "base model": "1" * 32}
    content = {**spec.content(), "record": False}
    records: list[tuple[str, dict[str, Any]]] = [
        ("sweep", {"sweep_id": "2" * 16, "content": content, "inputs": inputs, "plan": plan})
    ]
    records += [("trial", _trial(number)) for number in range(trials)]
    records.append(("session", {"slots": 2, "cpus": 2.0}))
    for index, level in enumerate(LEVELS):
        for number in range(trials):
            records.append(("milestone", _milestone(number, index, level)))
            if index < len(LEVELS) - 1:
                records.append(("decision", {"decision": _decision(number, level, "CONTINUE")}))
    if ended:
        records.append(("session_end", {"status": "completed", "wall_seconds": 1e4, "slot_seconds": 2e4}))
    return records


def _trial(number: int) -> dict[str, Any]:
    config = {
        "method": "lora",
        "effective_batch_size": 32,
        "learning_rate": 1e-3 + 1e-6 * number,
        "samples": LEVELS[-1],
        "method_options": {"r": 8, "lora_alpha": 16},
        "schedule": "constant",
        "schedule_options": {},
        "warmup_unit": "ratio",
        "warmup_amount": 0.03,
        "optimizer": "adamw",
        "beta1": 0.9,
        "beta2": 0.95,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "data_strategy": "stacked",
        "seed": 0,
    }
    return {"trial": _id(number), "name": f"lora r8 lr{1e-3 + 1e-6 * number:g} ebs32 s0", "config": config}


def _milestone(number: int, index: int, level: int) -> dict[str, Any]:
    loss = 5.918447587096575 / (index + 1) + number * 1e-5
    signal = {
        "step": level // 32,
        "samples_seen": level,
        "tokens_seen": 20 * level,
        "loss": loss,
        "total_loss": loss,
        "grad_norm": 11.920967102050781,
        "learning_rate": 0.0022500000000000003,
        "tokens_per_second": 7548.303098578705,
        "elapsed_seconds": 0.4603880510003364,
        "noise_scale": 14.932252571207059,
        "noise_corrected_grad_norm": 9.248003678370896,
    }
    dynamics = {f"feature_{each}": 10.082527535860656 + each for each in range(18)}
    return {
        "trial": _id(number),
        "index": index,
        "level": level,
        "samples_seen": level,
        "tokens_seen": 20 * level,
        "state": "completed" if index == len(LEVELS) - 1 else "running",
        "scores": {"eval/loss": loss},
        "standard_errors": {"eval/loss": 0.14371598627548907},
        "training_seconds": 0.4612161050008581,
        "evaluation_seconds": 0.8400838099987595,
        "setup_seconds": 2.26506725299987,
        "node": "node",
        "checkpoint": f"bench/trials/{_id(number)}/m{index:04d}",
        "last_signal": signal,
        "dynamics": dynamics,
        "decision": _decision(number, level, "PAUSE" if index < len(LEVELS) - 1 else "CONTINUE"),
    }


def _decision(number: int, level: int, action: str) -> dict[str, Any]:
    evidence = {
        "objective": "eval/loss",
        "mode": "min",
        "value": 2.6628193422650606,
        "violation": 0.0,
        "cut_off": None,
        "rank": 1,
        "rung_size": 23,
        "places": 24,
        "outstanding": 1,
        "reduction_factor": None,
        "milestone": 0,
        "level": level,
        "method": "lora",
        "rank_in_method": 1,
        "expected_final": 3.7612956684971968,
        "expected_low": 2.6628193422650606,
        "expected_high": 15.730276436676034,
        "probability_best": 0.12109375,
    }
    reason = f"Goes on: eval/loss 2.663 ranks 1 of 23 in cohort the sweep at {level} samples; expected to end at 3.761."
    return {
        "trial_id": _id(number),
        "samples_seen": level,
        "action": action,
        "rule": "forecast",
        "cohort": "the sweep",
        "reason": reason,
        "evidence": evidence,
    }


def _id(number: int) -> str:
    return f"{number:010x}"


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "orchestrator", *words], capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        journal = write_sweep(Path(folder), "bench", options.trials)
        print(machine())
        print(f"{options.trials} trials, journal of {journal.stat().st_size / 1e6:.1f} MB, {options.rounds} rounds")
        for words in (["status"], ["status", "bench"], ["status", "bench", "--json"]):
            measured = [_seconds([*words, "--storage", folder]) for _ in range(options.rounds)]
            print(f"orchestrate {' '.join(words)}: {statistics.median(measured):.2f} s (slowest {max(measured):.2f} s)")


if __name__ == "__main__":
    main()
