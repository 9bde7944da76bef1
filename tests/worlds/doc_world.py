"""A folder as the documentation's reader has it, small: a finished `quickstart`, one that was killed, a recorded one."""

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.worlds.shared_ray import call

QUICKSTART = """
name: quickstart
model: testbed
data: {train: "testbed:sft", held_out: 0.1, limit: 160}
evaluation: [{name: eval, kind: loss, data: held_out}]
search_space:
  method:
    lora: {learning_rate: [1.0e-3, 4.0e-3], r: 8, lora_alpha: 16}
  effective_batch_size: [8, 32]
searcher: grid
budget: {trials: 3, samples: 64}
milestones: [0.5, 1.0]
stopping:
  forecast: {enabled: false}
  rungs: {reduction_factor: 2}
resources: {cpu: 1, concurrency: 1}
"""
DOLLY = {"name": "dolly", "model": "testbed", "data": {"train": "testbed:sft", "held_out": 0.1}}


@dataclass(frozen=True)
class World:
    """Where the pages' commands run.

    Args:
        folder: The reader's working folder, with `runs` and `search_spaces`.
        words: Words of the pages, and what stands for them here.
    """

    folder: Path
    words: dict[str, str]

    def copy_to(self, folder: Path) -> "World":
        """Return the same elsewhere; weights, which are never written in place, are linked."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True, copy_function=_link_weights)
        return World(folder, self.words)

    def here(self, text: str) -> str:
        """Return a text of a page with what it says replaced by what it is here: ids hang on budgets."""
        pattern = "|".join(re.escape(word) for word in sorted(self.words, key=len, reverse=True))
        return re.sub(rf"(?<!\w)({pattern})(?!\w)", lambda match: self.words[match[1]], text)


def _link_weights(source: str, place: str) -> str:
    if source.endswith(".safetensors"):
        os.link(source, place)
        return place
    return str(shutil.copy2(source, place))


def orchestrate(*words: str) -> tuple[int, str]:
    """Call the command as a shell would, without the seconds of a new interpreter; returns exit code and output."""
    done = call(*words)
    return done.returncode, done.stdout + done.stderr


def build(folder: Path, address: str) -> World:
    """Run the sweeps that the pages speak of, on the Ray at ``address``."""
    spaces = folder / "search_spaces"
    spaces.mkdir(parents=True)
    small = yaml.safe_load(QUICKSTART)
    (spaces / "quickstart.yaml").write_text(QUICKSTART)
    (spaces / "dolly.yaml").write_text(yaml.safe_dump({**small, **DOLLY}))
    (folder / "wider.yaml").write_text(QUICKSTART.replace("4.0e-3", "8.0e-3"))
    # Every sweep that names no other cluster joins this one, as docs/howto/machines/cluster.md says.
    (folder / "clusters").mkdir()
    (folder / "clusters" / "local.yaml").write_text(f"kind: existing\naddress: {address}\n")
    _write_model_and_data(folder)
    with contextlib.chdir(folder):
        for words in ([], ["--record", "--set", "name=quickstart-recorded"]):
            code, shown = orchestrate("run", "search_spaces/quickstart.yaml", *words)
            assert code == 0, shown
    _write_recorded(folder / "quickstart.jsonl.gz")
    return World(folder, _words(folder))


def _write_model_and_data(folder: Path) -> None:
    from orchestrator.testbed.sources import base_model_path, load_rows

    (folder / "my-model").symlink_to(Path(base_model_path()).resolve())
    rows = list(load_rows("testbed:sft?rows=160"))
    (folder / "my-data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dolly.jsonl").symlink_to("my-data.jsonl")


def _write_recorded(file: Path) -> None:
    """Write a recorded sweep of as many trials as a replay needs."""
    from orchestrator.simulation.recorded.files import write_recorded
    from orchestrator.simulation.synthetic.sweeps import synthetic_sweep

    write_recorded(synthetic_sweep(5, seed=0), file)


def _words(folder: Path) -> dict[str, str]:
    from orchestrator.api import read_sweep
    from orchestrator.records import Outcome
    from orchestrator.storage.sweep_folder import SweepFolder

    result = read_sweep(SweepFolder(folder / "runs", "quickstart")).result
    assert result.winner is not None
    stopped = next(trial for trial in result.trials if trial.outcome is Outcome.STOPPED)
    return {
        "566fa32096": result.winner.trial_id,
        "full lr3e-4 ebs8 s0": result.winner.name,
        "310c162715": stopped.trial_id,
        "lora r8 lr4e-3 ebs32 s0": stopped.name,
        # What trains on in the sweep that was killed.
        "ia3 lr0.01 ebs32 s0": result.winner.name,
        "8192": "96",
        "1024": "64",
        "256": "32",
        "/tmp/second": str(folder / "second"),
    }


def kill(world: World) -> World:
    """Make the sweep one whose driver was killed before the winner's last milestone was written."""
    from orchestrator.storage.sweep_folder import SweepFolder

    folder = SweepFolder(world.folder / "runs", "quickstart")
    records = [json.loads(line) for line in folder.journal.read_text().splitlines()]
    winner = world.words["566fa32096"]
    last = next(i for i, each in enumerate(records) if each["kind"] == "milestone" and each["trial"] == winner)
    kept = [each for i, each in enumerate(records) if i <= last or each.get("trial") != winner]
    kept = [each for each in kept if each["kind"] not in ("session_end", "tracking")]
    folder.journal.write_text("".join(json.dumps(each) + "\n" for each in kept))
    return world
