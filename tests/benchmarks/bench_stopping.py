"""Stopping, measured on recorded sweeps: what it spends and what it loses, against the rivals' own schedulers.

For every sweep our forecast uses weights fitted on the other sweeps alone. Printed: cost and regret per rule and kind of
objective; the samples that the best rival spends at our regret or less; what the forecast adds to a trial's own early
score; the time of a decision in a sweep of 1,000 trials, and of a simulated sweep of 10,000.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.decisions.engine.policy import DEFAULT_POLICY
from orchestrator.decisions.forecast.model import ONCE, ForecastModel
from orchestrator.decisions.forecast.panel import rank_correlation
from orchestrator.decisions.objective import Objective
from orchestrator.simulation.engine.engine_scheduler import EngineScheduler
from orchestrator.simulation.engine.simulator import Clock, simulate
from orchestrator.simulation.forecast.fitting import common_metrics, left_out_models, lessons, mode_of
from orchestrator.simulation.recorded.files import read_recorded
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.replay import ReplayReport, replay
from orchestrator.simulation.replay_files import recorded_files
from orchestrator.simulation.rules import choose_rules
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep
from tests.benchmarks.common import machine

IN_DISTRIBUTION = "eval/loss"
AWAY = ("general/loss", "other/loss", "knowledge/loss", "knowledge/exact_match", "skills/exact_match")
RULES = (
    "ours",
    "ours-forecast",
    "ours-rungs",
    "no-stopping",
    "random",
    "halving",
    "top-k-early",
    "top-k-fifth",
    "loss-only",
    "grad-norm-only",
    "paper",
    "lowest-rate",
    "largest-batch",
    "lowest-rate-largest-batch",
    "ray-asha",
    "ray-median",
    "ray-hyperband",
    "ray-async-hyperband",
    "optuna-sha",
    "optuna-median",
    "optuna-hyperband",
    "optuna-percentile",
)
RIVALS = ("baselines", "ray", "optuna", "syne")
NULLS = ("no-stopping", "random", "lowest-rate", "largest-batch")
Weights = Mapping[str, ForecastModel]
"""Our forecast by sweep, fitted without it."""

SHARES = (1 / 16, 1 / 8, 1 / 4)
FIGURES = ("samples_share", "regret_noise", "top_1_kept", "false_stop_top_decile")


@dataclass(frozen=True)
class Row:
    """One rule on one kind of objective: figures over all (sweep, metric, draw)."""

    rule: str
    group: str
    values: dict[str, np.ndarray[Any, Any]]

    def share(self) -> float:
        """Mean share of the exhaustive samples."""
        return float(np.mean(self.values["samples_share"]))

    def regret(self, quantile: float) -> float:
        """Quantile of the regret in units of repeat noise."""
        return float(np.quantile(self.values["regret_noise"], quantile))

    def line(self) -> list[str]:
        """Cells of the printed table."""
        kept, decile = self.values["top_1_kept"].mean(), self.values["false_stop_top_decile"].mean()
        mean = np.minimum(self.values["regret_noise"], 5).mean()
        return [
            self.rule,
            f"{self.share():.3f}",
            f"{self.regret(0.5):.2f}",
            f"{self.regret(0.95):.2f}",
            f"{mean:.2f}",
            f"{kept:.2f}",
            f"{decile:.2f}",
        ]


def measure(
    sweeps: Sequence[RecordedSweep], weights: Weights, metrics: Sequence[str], draws: int, jobs: int
) -> list[ReplayReport]:
    """Return a replay under every rule for each metric, of all sweeps that have it."""
    chosen = choose_rules(RULES)
    reports: list[ReplayReport] = []
    for metric in metrics:
        having = [sweep for sweep in sweeps if metric in common_metrics(sweep)]
        if having:
            objective = Objective(metric, mode_of(metric))
            reports.append(replay(having, chosen.rules, objective, draws=draws, jobs=jobs, weights=weights))
    return reports


def rows_of(reports: Sequence[ReplayReport], wanted: Callable[[str], bool] = lambda sweep: True) -> list[Row]:
    """Return every rule's figures over all wanted sweeps (by name) and metrics."""
    kept = [[wanted(truth.name) for truth in report.sweeps] for report in reports]
    return [
        Row(
            rule.name,
            rule.group,
            {
                name: np.concatenate(
                    [
                        report.results[index].of(name)[keep].reshape(-1)
                        for report, keep in zip(reports, kept, strict=True)
                    ]
                )
                for name in FIGURES
            },
        )
        for index, rule in enumerate(choose_rules(RULES).rules)
    ]


def print_ours_by_sweep(reports: Sequence[ReplayReport], epochs: Mapping[str, float], title: str) -> None:
    """Print what our default does with each sweep and metric, and with sweeps that repeat rows and those that do not."""
    lines = []
    for report in reports:
        ours = next(result for result in report.results if result.rule.name == "ours")
        for index, truth in enumerate(report.sweeps):
            share, regret, kept = (float(ours.of(figure)[index].mean()) for figure in FIGURES[:3])
            cells = [f"{share:.3f}", f"{regret:.2f}", f"{kept:.2f}"]
            lines.append([truth.name, str(report.objective.metric), f"{epochs[truth.name]:.2g}", *cells])
    print_table(f"Ours by sweep, {title}", [["sweep", "objective", "epochs", "samples", "regret", "best kept"], *lines])
    for name, again in (("each row at most once", False), ("rows repeated", True)):
        names = {sweep for sweep, often in epochs.items() if (often > ONCE) == again}
        row = next(row for row in rows_of(reports, names.__contains__) if row.rule == "ours")
        print(
            f"{name}: samples {row.share():.3f}, regret median {row.regret(0.5):.2f}, 95th percentile {row.regret(0.95):.2f}, "
            f"best kept {row.values['top_1_kept'].mean():.2f}"
        )


def best_rival(rows: Sequence[Row], ours: Row) -> Row | None:
    """Return the rival that spends least among those whose 95th percentile and mean of regret are no worse than ours."""
    mean = np.minimum(ours.values["regret_noise"], 5).mean()
    able = [
        row
        for row in rows
        if row.group in RIVALS
        and not row.rule.startswith(NULLS)
        and row.regret(0.95) <= ours.regret(0.95) + 1e-9
        and np.minimum(row.values["regret_noise"], 5).mean() <= mean + 1e-9
    ]
    return min(able, key=Row.share, default=None)


def added_rank(
    sweeps: Sequence[RecordedSweep], models: Weights, metrics: Sequence[str]
) -> list[tuple[float, float, float, float, float]]:
    """Return per share of training: own score's rank correlation with the final, the forecast's, and the gain's interval."""
    found = []
    for share in SHARES:
        pairs = []
        for sweep in sweeps:
            for metric in (name for name in metrics if name in common_metrics(sweep)):
                whole = _nearest_panel(sweep, metric, share)
                own = _own_scores(sweep, metric, whole)
                forecast = models[sweep.name].mean(whole.panel)
                pairs.append((rank_correlation(own, whole.targets), rank_correlation(forecast, whole.targets)))
        table = np.array(pairs)
        gains = table[:, 1] - table[:, 0]
        random = np.random.default_rng(0)
        means = [random.choice(gains, len(gains)).mean() for _ in range(4000)]
        low, high = np.quantile(means, [0.025, 0.975])
        found.append((share, table[:, 0].mean(), table[:, 1].mean(), float(low), float(high)))
    return found


def _nearest_panel(sweep: RecordedSweep, metric: str, share: float) -> Any:
    whole: dict[float, Any] = {}
    for lesson in lessons(sweep, metric, mode_of(metric)):
        known = whole.get(lesson.panel.share)
        if known is None or len(lesson.targets) > len(known.targets):
            whole[lesson.panel.share] = lesson
    return whole[min(whole, key=lambda at: abs(np.log(at / share)))]


def _own_scores(sweep: RecordedSweep, metric: str, lesson: Any) -> Any:
    level = round(lesson.panel.share * sweep.levels[-1])
    sign = 1.0 if mode_of(metric) == "min" else -1.0
    trials = [sweep.trial(trial_id) for trial_id in lesson.panel.trial_ids]
    return np.array([sign * trial.scores_at(trial.samples_at(level))[metric] for trial in trials])


def decision_milliseconds(trials: int) -> tuple[float, float]:
    """Return mean and largest milliseconds per milestone of the engine alone in a synthetic sweep."""
    sweep, scheduler = synthetic_sweep(trials, 0), _Timed()
    order = [trial.trial for trial in sweep.trials]
    simulate(sweep, scheduler, Objective(IN_DISTRIBUTION), Clock(workers=16), order, 0)
    return 1000 * scheduler.spent / scheduler.milestones, 1000 * scheduler.longest


class _Timed(EngineScheduler):
    """Ours, with the time that its answers take."""

    def __init__(self) -> None:
        super().__init__(DEFAULT_POLICY, "ours")
        self.spent, self.longest, self.milestones = 0.0, 0.0, 0

    def arrive(self, arrival: Any) -> Any:
        began = time.perf_counter()
        answer = super().arrive(arrival)
        self._count(time.perf_counter() - began, 1)
        return answer

    def settle(self, idle_workers: int, waiting: int) -> Any:
        began = time.perf_counter()
        answer = super().settle(idle_workers, waiting)
        self._count(time.perf_counter() - began, 0)
        return answer

    def _count(self, seconds: float, milestones: int) -> None:
        self.spent, self.longest, self.milestones = (
            self.spent + seconds,
            max(self.longest, seconds),
            self.milestones + milestones,
        )


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print an aligned Markdown table; the first row is the head."""
    print(f"\n### {title}\n")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", nargs="*", default=["shipped"], help="recorded sweeps; default: those shipped")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    print(machine(), flush=True)
    sweeps, began, told = read_recorded(recorded_files(options.recorded)), time.monotonic(), {}
    print(
        f"{len(sweeps)} recorded sweeps, {sum(len(sweep.trials) for sweep in sweeps)} trials, {options.draws} orders each"
    )
    weights = left_out_models(sweeps)
    for kind, metrics in (("in distribution", (IN_DISTRIBUTION,)), ("away from the training distribution", AWAY)):
        reports = measure(sweeps, weights, metrics, options.draws, options.jobs)
        rows = rows_of(reports)
        head = ["rule", "samples", "regret median", "p95", "mean (cut at 5)", "best kept", "best tenth stopped"]
        print_table(f"Objective {kind}: {', '.join(metrics)}", [head, *(row.line() for row in rows)])
        for ours in (row for row in rows if row.rule == "ours" or row.rule.startswith("ours-forecast")):
            rival = best_rival(rows, ours)
            ratio = (
                "no rival does as well" if rival is None else f"{rival.rule} {rival.share() / ours.share():.2f} times"
            )
            print(
                f"best rival at the regret of {ours.rule} or less / {ours.rule} ({ours.share():.3f}): {ratio}",
                flush=True,
            )
        print_ours_by_sweep(reports, {sweep.name: sweep.epochs for sweep in sweeps}, kind)
        told[kind] = {row.rule: {name: values.tolist() for name, values in row.values.items()} for row in rows}
        lines = [
            [f"1/{1 / share:.0f}", f"{own:+.3f}", f"{forecast:+.3f}", f"{low:+.3f} to {high:+.3f}"]
            for share, own, forecast, low, high in added_rank(sweeps, weights, metrics)
        ]
        head = ["share of training", "own early score", "forecast", "gain, 95 % interval over sweeps"]
        print_table(f"Rank correlation with the final score, {kind}", [head, *lines])
    mean, longest = decision_milliseconds(1000)
    print(f"\ndecision time, 1,000 trials: {mean:.2f} ms per milestone, longest {longest:.0f} ms (aim <= 10 ms)")
    started = time.monotonic()
    decision_milliseconds(10_000)
    print(f"simulated sweep of 10,000 trials, made and run: {time.monotonic() - started:.0f} s (aim <= 60 s)")
    print(f"\nall of this: {time.monotonic() - began:.0f} s (aim <= 600 s)")
    if options.json is not None:
        options.json.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
