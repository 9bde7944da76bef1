"""Training signals tracked per second, end to end into MLflow on SQLite, against Ray Tune with MLflowLoggerCallback.

Ours: 100 trials of 20 milestones of 10 training signals (five metrics each), from the first call on a store
that does not exist yet until everything stands in the store; the import of mlflow and the making of the
store are inside. Printed besides: the same without those (a store that is open), and the same
shape as the rival's (one signal per milestone). Rival: 100 trivial trials of 20 reports of three metrics.
Each measurement runs in a process of its own; medians of ``--rounds`` rounds.
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

TRIALS = 100
REPORTS = 20


def measure_ours(folder: Path, signals_per_milestone: int) -> dict[str, float]:
    """Track a sweep in a new store; return seconds and training signals per second."""
    from orchestrator.tracking.tracker import SweepInfo
    from orchestrator.tracking.trackers import TrackerTask, open_tracker

    began, processor_began = time.perf_counter(), time.process_time()
    tracker = open_tracker(TrackerTask(None, folder, SweepInfo("bench", "bench"), folder / "bench" / "outbox.jsonl"))
    longest = _tell(tracker, signals_per_milestone, "a")
    told = time.perf_counter() - began
    if not tracker.flush(600):
        raise RuntimeError(tracker.health.warning())
    cold = time.perf_counter() - began
    cold_processor = time.process_time() - processor_began
    warm_began = time.perf_counter()
    _tell(tracker, signals_per_milestone, "b")
    if not tracker.flush(600):
        raise RuntimeError(tracker.health.warning())
    warm = time.perf_counter() - warm_began
    tracker.close()
    count = TRIALS * REPORTS * signals_per_milestone
    _check(folder, 2 * count)
    return {
        "signals": count,
        "calls_seconds": told,
        "longest_call_milliseconds": 1000 * longest,
        "cold_seconds": cold,
        "cold_processor_seconds": cold_processor,
        "cold_signals_per_second": count / cold,
        "warm_signals_per_second": count / warm,
    }


def _tell(tracker: object, signals_per_milestone: int, prefix: str) -> float:
    from orchestrator.records import Outcome, TrainingSignal, TrialConfig
    from orchestrator.tracking.outbox.outbox_tracker import OutboxTracker
    from orchestrator.tracking.tracker import TrialInfo

    assert isinstance(tracker, OutboxTracker)
    longest = 0.0
    samples = 16 * REPORTS * signals_per_milestone
    for trial in range(TRIALS):
        trial_id = f"{prefix}{trial:03d}"
        tracker.start_trial(TrialInfo.of(trial_id, TrialConfig("lora", 16, 3e-4, samples, {"r": 16})))
        step = 0
        for _ in range(REPORTS):
            signals = []
            for _ in range(signals_per_milestone):
                step += 1
                loss = 2.0 - step * 1e-3 + trial * 1e-5
                signals.append(
                    TrainingSignal(step, step * 16, step * 640, loss, loss, 1.0, 3e-4, 9e3, step * 0.02, 30.0)
                )
            began = time.perf_counter()
            tracker.log_signals(trial_id, signals)
            longest = max(longest, time.perf_counter() - began)
        tracker.end_trial(trial_id, Outcome.COMPLETED, step * 16)
    return longest


def _check(folder: Path, expected: int) -> None:
    """Count what really stands in the store."""
    import sqlite3

    with sqlite3.connect(folder / "mlflow.db") as store:
        for key in ("train/loss", "train/grad_norm"):
            (rows,) = store.execute("select count(*) from metrics where key = ?", (key,)).fetchone()
            if rows != expected:
                raise RuntimeError(f"{rows} rows of {key} in the store instead of {expected}")


def measure_rival(folder: Path, trials: int) -> dict[str, float]:
    """Run trivial trials under Ray Tune with its MLflow callback; return seconds and results per second."""
    import os

    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    def train(config: dict[str, float]) -> None:
        for step in range(1, REPORTS + 1):
            tune.report({"loss": 2.0 - step * 1e-3, "grad_norm": 1.0, "learning_rate": 3e-4})

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="bench")
    tuner = tune.Tuner(
        train,
        param_space={"index": tune.grid_search(list(range(trials)))},
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), callbacks=[callback], verbose=0),
    )
    began = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - began
    if results.num_errors or len(results) != trials:
        raise RuntimeError(f"{results.num_errors} of {len(results)} rival trials failed")
    ray.shutdown()
    return {"seconds": seconds, "results_per_second": trials * REPORTS / seconds}


def _in_process(what: str, rival_trials: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--measure", what, "--folder", folder]
        command += ["--rival-trials", str(rival_trials)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{what} failed:\n{done.stderr[-2000:]}")
        values: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return values


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(values[key] for values in rounds) for key in rounds[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rival-trials", type=int, default=TRIALS, help="fewer make the rival's part shorter")
    parser.add_argument("--measure", choices=["ours", "ours-same-shape", "rival"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.measure:
        measured = (
            measure_rival(options.folder, options.rival_trials)
            if options.measure == "rival"
            else measure_ours(options.folder, 10 if options.measure == "ours" else 1)
        )
        print(json.dumps(measured))
        return
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "ours-same-shape": [], "rival": []}
    for _ in range(options.rounds):
        for what, values in rounds.items():
            values.append(_in_process(what, options.rival_trials))
    result = {what: _median(values) for what, values in rounds.items()}
    ours, same, rival = result["ours"], result["ours-same-shape"], result["rival"]
    if options.json:
        print(json.dumps({**result, "rounds": options.rounds}))
        return
    print(f"training signals tracked, medians of {options.rounds} rounds")
    print(f"  ours, new store:                {ours['cold_signals_per_second']:8.0f} signals/s")
    print(f"  ours, open store:               {ours['warm_signals_per_second']:8.0f} signals/s")
    print(f"  ours, rival's shape, new store: {same['cold_signals_per_second']:8.0f} signals/s")
    print(f"  ours, rival's shape, open store:{same['warm_signals_per_second']:8.0f} signals/s")
    print(
        f"  processor time, new store:      {ours['cold_processor_seconds']:8.1f} s for {ours['signals']:.0f} signals"
    )
    print(f"  longest call:                   {ours['longest_call_milliseconds']:8.1f} ms")
    print(
        f"  Ray Tune + MLflowLoggerCallback:{rival['results_per_second']:8.1f} results/s ({options.rival_trials} trials)"
    )
    print(f"  ratio, rival's shape:           {same['cold_signals_per_second'] / rival['results_per_second']:8.1f}")
    print(f"  ratio, ten signals a milestone: {ours['cold_signals_per_second'] / rival['results_per_second']:8.1f}")


if __name__ == "__main__":
    main()
