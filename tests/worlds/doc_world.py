"""A folder as the documentation's reader has it, small: a finished `quickstart`, one that was killed, a recorded one."""

import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import yaml

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
SECONDS_TO_START = 60


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
    from orchestrator import cli

    shown, code = io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["orchestrate", *words]),
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(shown),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, shown.getvalue()


def build(folder: Path, address: str) -> World:
    """Run the sweeps that the pages speak of, on the Ray at ``address``."""
    spaces = folder / "search_spaces"
    spaces.mkdir(parents=True)
    small = yaml.safe_load(QUICKSTART)
    (spaces / "quickstart.yaml").write_text(QUICKSTART)
    (spaces / "dolly.yaml").write_text(yaml.safe_dump({**small, **DOLLY}))
    (folder / "wider.yaml").write_text(QUICKSTART.replace("4.0e-3", "8.0e-3"))
    # Every sweep that names no other cluster joins this one, as docs/howto/cluster.md says.
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


@contextlib.contextmanager
def ray_head() -> Iterator[str]:
    """Give the address of a Ray of this machine, kept up while the pages' commands join and leave it."""
    home = Path(tempfile.mkdtemp(prefix="ray-docs-"))  # short: Ray puts Unix sockets below it
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address", "127.0.0.1"),
        *("--port", str(port), "--num-cpus", "1", "--include-dashboard", "false", "--temp-dir", str(home)),
    ]
    head = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(timeout=SECONDS_TO_START)
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(port: int) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "Ray did not start"
            time.sleep(0.2)
        else:
            return
