"""Sweeps of the user's own code through the command line, Ray and MLflow; and every example that ships."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from orchestrator.api import find_sweep, read_sweep
from orchestrator.results.records import TrialHistory
from tests.worlds.shared_ray import SharedRay

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "search_spaces" / "examples").glob("*.yaml"))
SWEEP = {
    "name": "mine",
    "entrypoint": "script.py:train",
    "search_space": {
        "effective_batch_size": 8,
        "learning_rate": 0.1,
        "params": {"quality": [0.1, 0.5, 0.9], "mode": ["a", "b"]},
    },
    "searcher": "grid",
    "budget": {"samples": 64},
    "milestones": [0.25, 0.5, 1.0],
    "resources": {"concurrency": 1},
}
CODE = """
import json, time

def train(trial):
    folder = trial.latest_checkpoint()
    loss = 2.0 if folder is None else json.loads((folder / "loss.json").read_text())
    while trial.samples_seen < trial.samples:
        seen = trial.samples_seen + trial.effective_batch_size
        loss *= 1 - 0.1 * trial.params["quality"]
        time.sleep(SECONDS)
        scores = None
        if trial.reaches_milestone(seen):
            scores = {"eval/loss": loss}
            with trial.save_checkpoint(seen) as folder:
                (folder / "loss.json").write_text(json.dumps(loss))
        trial.report(samples_seen=seen, loss=loss, grad_norm=loss, scores=scores)
        if trial.should_stop():
            return
"""


SMALLER = {
    "plain_pytorch": ("--trials", "4", "--set", "budget.samples=4096"),
    "sentence_embeddings": ("--trials", "3"),
    "encoder_classifier": ("--trials", "3"),
    "trl_sft": ("--trials", "3"),
}
"""The examples with fewer trials: what they show is the same."""


def command(folder: Path, *more: str, code: str = CODE, seconds: float = 0.0) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(code.replace("SECONDS", str(seconds)))
    (folder / "mine.yaml").write_text(yaml.safe_dump(SWEEP))
    file, storage = str(folder / "mine.yaml"), str(folder / "runs")
    return [sys.executable, "-m", "orchestrator.cli", "run", file, "--storage", storage, "--json", *more]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=500)


def result_of(words: list[str]) -> dict[str, Any]:
    done = run(words)
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def facts(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how often the sweep was interrupted."""
    return {trial["trial_id"]: (trial["outcome"], trial["samples_seen"], trial["scores"]) for trial in result["trials"]}


def series(folder: Path) -> list[tuple[Any, ...]]:
    """Every point of loss and score in the store, by the trial's stable id; doubled points would show."""
    query = """
        select t.value, m.key, m.step, m.value from metrics m
        join tags t on t.run_uuid = m.run_uuid and t.key = 'orchestrate.trial_id'
        where m.key in ('train/loss', 'eval/loss') order by 1, 2, 3
    """
    with sqlite3.connect(folder / "runs" / "mlflow.db") as connection:
        return connection.execute(query).fetchall()


def journal(folder: Path) -> str:
    file = folder / "runs" / "mine" / "journal.jsonl"
    return file.read_text() if file.exists() else ""


def wait_for_milestones(folder: Path, count: int, seconds: float = 240.0) -> None:
    until = time.monotonic() + seconds
    while journal(folder).count('"kind": "milestone"') < count:
        assert time.monotonic() < until, f"{count} milestones did not appear within {seconds:.0f} s"
        time.sleep(0.1)


def trial_processes() -> set[int]:
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "orchestrator.integrations.launch" in process.cmdline():
                found.add(process.pid)
    return found


@pytest.fixture(scope="module")
def whole(shared_ray: SharedRay, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("whole")
    return shared_ray.result(*command(folder)[4:-1]), folder


def test_a_function_is_swept_like_anything_else(whole: tuple[dict[str, Any], Path]) -> None:
    result, folder = whole
    assert result["status"] == "completed"
    assert result["winner"]["config"]["method_options"]["quality"] == 0.9
    assert result["winner"]["name"].startswith("mode=")
    assert result["counts"]["stopped"] >= 1, "weak trials are stopped at a milestone"
    assert all(trial["reason"] for trial in result["trials"] if trial["outcome"] == "stopped")
    with sqlite3.connect(folder / "runs" / "mlflow.db") as connection:
        params = connection.execute("select key, value from params where key in ('quality', 'entrypoint')").fetchall()
        statuses = connection.execute("select status from runs").fetchall()
    assert ("entrypoint", "script.py:train") in params
    assert {value for key, value in params if key == "quality"} == {"0.1", "0.5", "0.9"}
    assert statuses.count(("KILLED",)) == result["counts"]["stopped"]
    report = Path(result["report"]).read_text()
    assert "script.py:train" in report
    assert "quality" in report


@pytest.mark.slow
def test_a_killed_sweep_resumes_to_the_same_result(whole: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    result, uninterrupted = whole
    before = trial_processes()
    driver = subprocess.Popen(
        command(tmp_path, seconds=0.15), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_for_milestones(tmp_path, 4)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    until = time.monotonic() + 60
    while trial_processes() - before and time.monotonic() < until:
        time.sleep(0.2)
    assert not trial_processes() - before, "the trials' processes end with the driver"
    done = journal(tmp_path).count('"kind": "milestone"')
    # The same code: what it sleeps is part of the file, and a changed file is refused.
    again = result_of(command(tmp_path, seconds=0.15))
    assert facts(again) == facts(result)
    assert series(tmp_path) == series(uninterrupted)
    assert journal(tmp_path).count('"kind": "milestone"') > done


def test_changed_code_is_refused_once_a_trial_has_reached_a_milestone(whole: tuple[dict[str, Any], Path]) -> None:
    _, folder = whole
    done = run(command(folder, code=CODE + "# changed\n"))
    assert done.returncode == 2
    assert "the file script.py changed since this sweep began" in done.stderr
    command(folder)  # as it was


@pytest.mark.slow
def test_code_without_the_objective_ends_the_sweep_and_may_be_mended(tmp_path: Path) -> None:
    wrong = CODE.replace('"eval/loss"', '"eval_loss"')
    done = run(command(tmp_path, code=wrong))
    assert done.returncode == 2, done.stderr[-2000:]
    told = done.stderr.strip().splitlines()[-1]
    assert "script.py:train: scores: the milestone at 16 samples was reported without 'eval/loss'" in told
    assert '"kind": "failure"' not in journal(tmp_path)
    mended = result_of(command(tmp_path))
    assert mended["status"] == "completed"
    assert mended["counts"].get("failed", 0) == 0


def test_a_missing_function_is_told_before_anything_starts(tmp_path: Path) -> None:
    done = run(command(tmp_path, "--set", "entrypoint=script.py:fit"))
    assert done.returncode == 2
    assert "entrypoint.function = 'script.py:fit': script.py has no function 'fit'" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "file",
    [
        # tests/cli/test_own_training_after.py runs the code of these, too.
        pytest.param(file, id=file.stem, marks=pytest.mark.slow if file.stem in ("plain_pytorch", "trl_sft") else [])
        for file in EXAMPLES
    ],
)
def test_every_example_runs_and_finds_a_winner(file: Path, shared_ray: SharedRay, tmp_path: Path) -> None:
    if file.stem.startswith("trl"):
        pytest.importorskip("trl")
    result = shared_ray.result(file, "--storage", tmp_path / "runs", *SMALLER.get(file.stem, ()))
    assert result["status"] == "completed"
    assert result["counts"]["completed"] >= 1
    assert not result["counts"].get("failed", 0)
    milestones = [
        json.loads(line) for line in (tmp_path / "runs" / file.stem / "journal.jsonl").read_text().splitlines()
    ]
    judged = {
        record["trial"]: record["scores"][result["objective"]]
        for record in milestones
        if record["kind"] == "milestone" and record["index"] == 0
    }
    winner = result["winner"]
    better = (
        winner["objective"] < judged[winner["trial_id"]]
        if result["mode"] == "min"
        else winner["objective"] > judged[winner["trial_id"]]
    )
    assert better, "training on made the winner better than it was at its first milestone"
    assert Path(result["report"]).exists()


def test_the_best_is_trained_on_from_its_own_checkpoint_where_the_sweep_was_moved_to(
    whole: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    result, folder = whole
    place = tmp_path / "elsewhere"
    shutil.copytree(folder, place)
    words = ["extend", str(place / "runs" / "mine"), "--best", "1", "--samples", "128", "--json"]
    extended = result_of([sys.executable, "-m", "orchestrator.cli", *words])
    (longer,) = [trial for trial in extended["trials"] if trial["role"] == "extended"]
    assert longer["origin"]["trial_id"] == result["winner"]["trial_id"]
    assert longer["samples_seen"] == 128
    # As a trial that had the larger budget from its start: the loss falls by the same factor at each step.
    quality = longer["config"]["method_options"]["quality"]
    assert longer["scores"]["eval/loss"] == pytest.approx(2.0 * (1 - 0.1 * quality) ** 16)
    signals = [signal for trial in read_trials(place) if trial.result.role == "extended" for signal in trial.signals]
    assert [signal.samples_seen for signal in signals] == list(range(72, 136, 8)), "nothing is trained twice"
    assert facts(extended).items() >= facts(result).items()
    assert not (folder / "runs" / "mine" / "trials" / longer["trial_id"]).exists(), "the copy leaves the original alone"
    with sqlite3.connect(place / "runs" / "mlflow.db") as store:
        places = [uri for (uri,) in store.execute("select artifact_uri from runs")]
    assert all(uri.startswith(str(place)) for uri in places)


def read_trials(folder: Path) -> tuple[TrialHistory, ...]:
    return read_sweep(find_sweep("mine", folder / "runs"), signals=True).trials
