"""Sweeps that were never trained: journals, reports and base scores as driver and workers leave them, by a formula."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.coordinating.searchers.sobol import sobol_points
from orchestrator.records import Action, Decision, Milestone, Role, TrainingSignal, TrialConfig, TrialState
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.search_space.enumeration import config_at, count_configs, cube_dimensions
from orchestrator.spec.sweep import SweepSpec
from orchestrator.spec.trial.identity import trial_name
from orchestrator.storage.driver_presence import driving
from orchestrator.storage.journal import Journal
from orchestrator.storage.journal_records.base import JournalRecord
from orchestrator.storage.journal_records.trials import TrialRecord
from orchestrator.storage.milestone_reports import write_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.storage.trial_entries import milestone_record
from tests.worlds.journals.lines import as_record

LEVELS = (128, 256, 512, 1024, 2048, 4096)
Scores = dict[str, float]
ENVIRONMENT = {
    "python": "3.11.9",
    "machine": "x86_64 Linux",
    "host": "node-a",
    "cpus": 2,
    "versions": {"torch": "2.13.0"},
    "code": "c" * 32,
    "git_commit": "0123abcd",
    "git_dirty": True,
}
SPACE: dict[str, Any] = {
    "method": {
        "full": {"learning_rate": [3e-4, 1e-3, 3e-3]},
        "lora": {"learning_rate": [1e-3, 4e-3, 1.6e-2], "r": [4, 8, 16]},
    },
    "effective_batch_size": [8, 32, 128],
    "warmup": {"ratio": 0.03},
}
RANGES: dict[str, Any] = {
    "method": {name: {} for name in ("full", "lora", "dora", "ia3")},
    "effective_batch_size": [8, 16, 32, 64],
    "weight_decay": [0.0, 0.01, 0.1],
}


def sweep_spec(**changes: Any) -> SweepSpec:
    """Return a sweep with held-out loss and, measured at the end, forgetting."""
    values: dict[str, Any] = {
        "name": "made",
        "model": "testbed",
        "data": {"train": "testbed:sft"},
        "evaluation": [
            {"name": "eval"},
            {"name": "general", "kind": "text_loss", "data": "testbed:biographies", "when": "end"},
        ],
        "search_space": SPACE,
        "budget": {"trials": 24, "samples": LEVELS[-1]},
    }
    return parse_sweep({**values, **changes})


def quality(config: TrialConfig) -> float:
    """How far a configuration is from the best: 0 at its method's best rate and the smallest batch."""
    centre, offset = {"full": (1e-3, 0.0), "lora": (4e-3, 0.1)}.get(config.method, (1e-3, 0.3))
    return (
        offset
        + 0.6 * abs(math.log10(config.learning_rate / centre))
        + 0.15 * math.log2(config.effective_batch_size / 8)
    )


def formula_scores(config: TrialConfig, level: int) -> Scores:
    """Held-out loss that falls with samples, and forgetting at the end."""
    loss = 0.5 + quality(config) + 12 / math.sqrt(level)
    end = {"general/loss": 0.6, "general/forgetting": 2 - quality(config) / 2}
    return {"eval/loss": loss, **(end if level == LEVELS[-1] else {})}


class MadeSweep:
    """Writes one sweep's folder.

    Args:
        storage: Storage folder.
        spec: The sweep.
        scores: Scores of a configuration at a level; may be NaN.
        stopped_at: Index of the milestone at which a configuration is stopped, None to complete.
        diverges: Which configurations blow up at their second milestone.
        reason: Sentence of every stop.
        step: Samples between training signals; None: the effective batch.
    """

    def __init__(
        self,
        storage: Path,
        spec: SweepSpec,
        scores: Callable[[TrialConfig, int], Scores] = formula_scores,
        stopped_at: Callable[[TrialConfig], int | None] = lambda config: (
            max(0, 4 - int(4 * quality(config))) if quality(config) > 0.3 else None
        ),
        diverges: Callable[[TrialConfig], bool] = lambda config: False,
        reason: str = "Stopped: eval/loss ranks low; it ends best with probability 0.1%.",
        step: int | None = None,
        levels: Sequence[int] = LEVELS,
    ) -> None:
        self.folder = SweepFolder(storage, spec.name)
        self.spec, self._scores, self._stopped_at, self._diverges = spec, scores, stopped_at, diverges
        self._reason, self._step, self._levels = reason, step, tuple(levels)
        self.journal = Journal(self.folder.journal)
        plan = {
            "trials": spec.budget.trials or count_configs(spec.search_space),
            "samples": self._levels[-1],
            "levels": self._levels,
            "rung_indices": list(range(len(self._levels) - 1)),
        }
        content = {**spec.content(), "record": False}
        inputs = {"training data": "d" * 32, "base model": "b" * 32}
        self.journal.append(
            as_record("sweep", {"sweep_id": "5" * 16, "content": content, "inputs": inputs, "plan": plan})
        )
        self.journal.append(as_record("session", {"slots": 2, "cpus": 2.0, "environment": ENVIRONMENT}))
        base = {metric: value * 3 for metric, value in scores(next(self.configs()), self._levels[0]).items()}
        self.folder.base_scores.write_text(json.dumps(base))

    def configs(self) -> Iterator[TrialConfig]:
        """Yield quasi-random configurations, each once."""
        seen = set()
        space = self.spec.search_space
        for point in sobol_points(cube_dimensions(space), 0):
            config = config_at(space, point, self._levels[-1])
            if (name := json.dumps(config.as_dict())) not in seen:
                seen.add(name)
                yield config

    def train(self, trials: int, milestones: int | None = None) -> None:
        """Train so many configurations, at most up to a milestone."""
        entries: list[JournalRecord] = []
        for number, config in zip(range(trials), self.configs(), strict=False):
            name = trial_name(config, self.spec.search_space.varied)
            entries.append(TrialRecord(trial=f"t{number:04d}", name=name, config=config))
            entries += self._milestones(f"t{number:04d}", config, milestones)
        self.journal.append(*entries)

    def _milestones(self, trial: str, config: TrialConfig, most: int | None) -> Iterator[JournalRecord]:
        stop, blown = self._stopped_at(config), self._diverges(config)
        for index in range(len(self._levels[:most])):
            last = index == len(self._levels) - 1
            state = (
                TrialState.COMPLETED if last else TrialState.DIVERGED if blown and index == 1 else TrialState.RUNNING
            )
            yield self._milestone(trial, config, index, state, stopped=index == stop)
            if state is not TrialState.RUNNING or index == stop:
                return

    def _milestone(
        self, trial: str, config: TrialConfig, index: int, state: TrialState, stopped: bool
    ) -> JournalRecord:
        level = self._levels[index]
        scores = self._scores(config, level)
        signals = tuple(self._signals(config, self._levels[index - 1] if index else 0, level, state))
        milestone = Milestone(
            trial_id=trial,
            index=index,
            level=level,
            samples_seen=level,
            tokens_seen=20 * level,
            state=state,
            scores=scores,
            signals=signals,
            training_seconds=level / 100,
            evaluation_seconds=0.5,
            checkpoint=f"{self.spec.name}/trials/{trial}/m{index:04d}",
            standard_errors=dict.fromkeys(scores, 0.04),
        )
        write_report(self.folder.report(trial, index), milestone, None)
        halted = stopped or state is TrialState.DIVERGED
        decision = Decision(
            trial,
            level,
            Action.STOP if halted else Action.CONTINUE,
            "divergence" if state is TrialState.DIVERGED else "forecast",
            "the sweep",
            self._reason if halted else "Goes on.",
            self._evidence(config, level),
        )
        return milestone_record(milestone, Role.SEARCH, {}, decision)

    def _evidence(self, config: TrialConfig, level: int) -> dict[str, Any]:
        end = self._scores(config, self._levels[-1]).get("eval/loss", 1.0)
        width = 4 / math.sqrt(level)
        return {
            "level": level,
            "expected_final": end + width / 2,
            "expected_low": end - width,
            "expected_high": end + width,
            "probability_best": 0.1,
        }

    def _signals(self, config: TrialConfig, before: int, level: int, state: TrialState) -> Iterator[TrainingSignal]:
        step = self._step or config.effective_batch_size
        noise = random.Random(level)
        for samples in range(before + step, level + 1, step):
            loss = 0.4 + quality(config) + 14 / math.sqrt(samples) + 0.1 * noise.random()
            blown = state is TrialState.DIVERGED and samples > (before + level) / 2
            yield TrainingSignal(
                step=samples // step,
                samples_seen=samples,
                tokens_seen=20 * samples,
                loss=math.nan if blown else loss,
                total_loss=loss,
                grad_norm=math.inf if blown else 20 / math.sqrt(samples) + noise.random(),
                learning_rate=config.learning_rate,
                tokens_per_second=1e4,
                elapsed_seconds=samples / 100,
            )

    def end(self, status: str = "completed") -> SweepFolder:
        """Write the end of the session."""
        self.journal.append(as_record("session_end", {"status": status, "wall_seconds": 120.0, "slot_seconds": 240.0}))
        return self.killed()

    def killed(self) -> SweepFolder:
        """End as a killed driver does: with no word."""
        self.journal.close()
        return self.folder

    @contextmanager
    def alive(self) -> Iterator[SweepFolder]:
        """Be seen as running for the length of the block."""
        with driving(self.journal.path, self.journal.epoch, lambda moment: None):
            yield self.folder
        self.journal.close()


def finished(storage: Path, trials: int = 24, **changes: Any) -> SweepFolder:
    """Return a small finished sweep."""
    made = MadeSweep(storage, sweep_spec(budget={"trials": trials, "samples": LEVELS[-1]}), **changes)
    made.train(trials)
    return made.end()
