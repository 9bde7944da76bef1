"""A trial of the user's own code, run once more in a process of its own and a folder of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from orchestrator.api.extend.entrypoints import found_entrypoint
from orchestrator.api.plan.policy import make_step_rule
from orchestrator.api.rerun.capsule import Capsule, CapsuleLine, compare_digests
from orchestrator.api.rerun.compare import MetricSameness, compare_scores
from orchestrator.errors import EntrypointFailure, InputError
from orchestrator.history.journal_facts import FILE, recorded_inputs
from orchestrator.history.journal_state import JournalState
from orchestrator.progress import Say
from orchestrator.records import TrainingSignal
from orchestrator.results.records import MilestoneResult, TrialHistory
from orchestrator.storage.milestone_reports import read_report
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.own_training.kept import SAVE, copy_checkpoint, newest_checkpoint
from orchestrator.tuning.own_training.runner import LostProcess, OwnTrialRunner
from orchestrator.tuning.own_training.start import end_nurseries
from orchestrator.tuning.worker.task import WorkerTask

SAFE = ".safetensors"
WEIGHTS = (".bin", ".pt", ".pth", ".npz", ".npy")
"""Endings of other files that may hold weights; they may differ where the weights are the same."""


class OwnAgain:
    """The trial, being trained a second time.

    Args:
        state: Its sweep.
        before: What was recorded of it.
        capsule: What its result depends on.
        device: ``auto``: the code chooses it.
        rounding: Relative difference that counts as rounding.
        say: Receives a line at each milestone.

    Raises:
        InputError: If the code is gone, or a device is asked for.
    """

    def __init__(
        self, state: JournalState, before: TrialHistory, capsule: Capsule, device: str, rounding: float, say: Say
    ) -> None:
        if device != "auto":
            raise InputError(
                "--device",
                value=device,
                rule="training of your own chooses its device itself",
                mend="leave --device out",
            )
        self._state, self._before, self._rounding, self._say = state, before, rounding, say
        self._entrypoint, self._report = found_entrypoint(state)
        self._room = Path(tempfile.mkdtemp(prefix="rerun-"))
        self._folder = SweepFolder(self._room, state.folder.name)
        self._threads = capsule.threads
        self.scores: list[MetricSameness] = []
        self.signals: list[TrainingSignal] = []

    @property
    def device(self) -> str:
        """Nobody but the code knows."""
        return "the device that the code chose"

    def inputs(self) -> list[CapsuleLine]:
        """Compare the user's files with those that the sweep was last run with."""
        now = {f"{FILE}{name}": value for name, value in self._report.files.items()}
        return compare_digests("", recorded_inputs(self._state.records) or {}, now)

    def train(self) -> None:
        """Run the code to every milestone that the trial reached.

        Raises:
            EntrypointFailure: If the code fails; its output stays where the message says.
        """
        runner = OwnTrialRunner(
            self._task(),
            {
                "trial_id": self._id,
                "trial": self._before.result.config.as_dict(),
                "known_milestones": 0,
            },
        )
        try:
            for milestone in self._before.milestones:
                if not self._reach(runner, milestone):
                    break
        except LostProcess as error:
            raise EntrypointFailure(str(error)) from error
        finally:
            runner.close()
            end_nurseries()

    def same_weights(self, folder: SweepFolder) -> bool | None:
        """Compare the files of weights in both checkpoints; None where there are none, or no verdict can rest on them."""
        result = self._before.result
        before = newest_checkpoint(folder, result.trial_id, result.samples_seen)
        now = newest_checkpoint(self._folder, result.trial_id, result.samples_seen)
        if before is None or now is None or before.samples_seen != now.samples_seen:
            return None
        names = [str(path.relative_to(before.folder)) for path in _weights(before.folder)]
        if not names or names != [str(path.relative_to(now.folder)) for path in _weights(now.folder)]:
            return None
        same = all((before.folder / name).read_bytes() == (now.folder / name).read_bytes() for name in names)
        return same if same or names[0].endswith(SAFE) else None

    def keep(self, place: Path | str | None) -> str:
        """Keep the checkpoint that the code saved, and let go of the rest."""
        try:
            found = newest_checkpoint(self._folder, self._id, self._before.result.samples_seen)
            if place is None:
                return ""
            if found is None:
                self._say(f"Nothing is kept: the code saved no checkpoint. To have one, {SAVE}.")
                return ""
            copy_checkpoint(found, Path(place), self._before.result.name)
            return str(place)
        finally:
            shutil.rmtree(self._room, ignore_errors=True)

    # -- inside ----------------------------------------------------------------------------------------

    @property
    def _id(self) -> str:
        return self._before.result.trial_id

    def _task(self) -> WorkerTask:
        state, spec = self._state, self._state.spec
        return WorkerTask(
            setup=spec.trial_setup,
            setup_digest="",
            folder=self._folder,
            levels=state.plan.levels,
            step_rule=make_step_rule(spec, state.plan, bool(state.first.content.get("record"))),
            threads=self._threads,
            entrypoint=self._entrypoint,
            judged=spec.judged_metrics,
            varied=spec.search_space.varied,
        )

    def _reach(self, runner: OwnTrialRunner, milestone: MilestoneResult) -> bool:
        """Run the code to a milestone; returns whether it may go on from there."""
        answer = runner.step()
        if answer["failure"]:
            raise EntrypointFailure(answer["failure"])
        if answer["milestone"] < 0:
            return False
        report, halted = read_report(self._folder.report(self._id, answer["milestone"]))
        self.signals += report.signals
        if halted is not None:
            self._say(f"{report.samples_seen:,} samples: {halted.reason}")
            return False
        found = compare_scores(milestone, report.scores, self._rounding)
        self.scores += found
        told = ", ".join(f"{each.metric} {each.now:.6g} ({each.verdict})" for each in found if each.now is not None)
        self._say(f"{milestone.samples_seen:,} samples: {told}")
        return True


def _weights(folder: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint; where it has none, all others that may hold weights."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if path.suffix == SAFE] or [path for path in files if path.suffix in WEIGHTS]
