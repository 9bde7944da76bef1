"""``bench_recommend --real``: the trials are trained, one sweep for each arm and searcher seed, on one (model, data) pair."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import load_sweep, recommend_search_space, run_sweep

WIDE_RATES = {"log_uniform": [1e-6, 1e-1]}
WIDE_BATCHES = [8, 32, 128]
ARMS = ("rules", "auto", "wide")


def arm_values(arm: str, recommended: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sweep of an arm: as recommended, or with wide rates and batches and all else the same."""
    values = json.loads(json.dumps(recommended))
    if arm == "rules":
        return values
    bodies = {
        method: {key: value for key, value in body.items() if key != "learning_rate"}
        for method, body in values["search_space"]["method"].items()
    }
    rates = {"learning_rate": WIDE_RATES, "any_learning_rate": True} if arm == "wide" else {"learning_rate": "auto"}
    values["search_space"] |= {"method": bodies, "effective_batch_size": WIDE_BATCHES, **rates}
    return values


def run_arm(arm: str, recommended: Mapping[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Train one arm's sweep and return its winner."""
    values = arm_values(arm, recommended)
    values |= {"name": f"{arm}-{seed}", "storage": str(folder), "tracking": {"enabled": False}}
    values["searcher"] = {**values["searcher"], "seed": seed}
    file = folder / f"{arm}-{seed}.json"
    file.write_text(json.dumps(values))  # JSON is YAML
    result = run_sweep(load_sweep(file))
    winner = result.winner
    return {
        "arm": arm,
        "seed": seed,
        "winner": None if winner is None else winner.name,
        "loss": None if winner is None else winner.objective,
        "samples_trained": result.samples_trained,
        "wall_seconds": round(result.wall_seconds, 1),
        "outcomes": {k: v for k, v in result.counts.items() if v},
    }


def run_pair(options: argparse.Namespace) -> None:
    """Train every arm under every searcher seed, printing each winner as a line of JSON, then medians."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = recommend_search_space(
            options.model,
            options.data,
            f"{options.trials}-trials",
            samples=options.samples,
            storage=folder,
            overrides=options.set or (),
        )
        told: list[dict[str, Any]] = []
        for seed in options.seeds:
            for arm in options.arms:
                told.append(run_arm(arm, found.values, seed, folder))
                print(json.dumps(told[-1]), flush=True)
    _print_medians(told, options.arms)


def _print_medians(told: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> None:
    for arm in arms:
        losses = [each["loss"] for each in told if each["arm"] == arm and each["loss"] is not None]
        shown = ", ".join(f"{loss:.4f}" for loss in losses)
        print(f"{arm}: median winner {statistics.median(losses):.4f} ({shown})" if losses else f"{arm}: no winner")
