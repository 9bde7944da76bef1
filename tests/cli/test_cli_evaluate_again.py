"""evaluate, asked again: what is known is told without a model, and never when anything that decides it has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from orchestrator.api import evaluate_sweep, read_sweep
from orchestrator.api.evaluate import follow as evaluate_follow
from orchestrator.api.evaluate.models import ScoredModel
from orchestrator.records import Outcome
from orchestrator.storage import journal
from orchestrator.storage.later_scores import read_scores
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.training.evaluations.multiple_choice import multiple_choice
from orchestrator.training.evaluations.scoring.file_digests import FileDigests
from tests.worlds.driverless import Driverless, config, tiny_spec, write_rows

SCRIPT = """
import sys
sys.argv = ["orchestrate", *sys.argv[1:]]
from orchestrator import cli
try:
    cli.main()
finally:
    loaded = [name for name in ("torch", "transformers", "ray", "mlflow", "datasets") if name in sys.modules]
    print("LOADED", loaded, file=sys.stderr)
"""


class Sweep:
    """A sweep of one completed trial with files of its own, which a test may change."""

    def __init__(self, place: Path, base: Path) -> None:
        self.base, self.rows, self.quiz = place / "base", place / "rows.jsonl", place / "quiz.jsonl"
        shutil.copytree(base, self.base)
        driverless = Driverless(tiny_spec(self.base, write_rows(self.rows), place / "runs"))
        self.trial = driverless.train(config("full", 3e-3))
        self.folder: SweepFolder = driverless.end()
        questions = [
            {"question": f"w{n} w{n % 5}", "choices": [f"w{n % 7}", f"w{n % 17}", "w30 w31"], "answer": 1}
            for n in range(9)
        ]
        self.quiz.write_text("\n".join(map(json.dumps, questions)))
        self.sets: list[dict[str, Any]] = [
            {"name": "eval", "kind": "loss"},
            {"name": "quiz", "kind": "multiple_choice", "data": str(self.quiz)},
        ]

    @property
    def weights(self) -> Path:
        milestones = read_sweep(self.folder).trial(self.trial).milestones
        return self.folder.checkpoint(self.trial, milestones[-1].index) / "weights.safetensors"

    def score(self, **options: Any) -> tuple[ScoredModel, ...]:
        options = {"sets": self.sets, "device": "cpu", "threads": 1, **options}
        return evaluate_sweep(self.folder, **options).models


@pytest.fixture
def sweep(tmp_path: Path, tiny_base: Path) -> Sweep:
    return Sweep(tmp_path, tiny_base)


def same_size_and_time(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file as no look at size and modification time would show."""
    before, content = file.stat(), file.read_bytes()
    changed = change(content)
    assert len(changed) == len(content)
    assert changed != content
    file.write_bytes(changed)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_known_is_told_without_a_library_of_models(sweep: Sweep) -> None:
    first = sweep.score()
    asked = f"evaluation={json.dumps(sweep.sets)}"
    words = ["evaluate", str(sweep.folder.root), "--set", asked, "--device", "cpu", "--json"]
    told = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "LOADED []" in told.stderr
    again = json.loads(told.stdout)["models"]
    assert [model["scores"] for model in again] == [dict(model.scores) for model in first]
    assert [model["standard_errors"] for model in again] == [dict(model.standard_errors) for model in first]
    assert [model["cached"] for model in again] == [True, True]


def test_asking_again_adds_nothing_to_the_sweep(sweep: Sweep) -> None:
    sweep.score()
    before = read_scores(sweep.folder.later_scores)
    assert all(model.cached for model in sweep.score())
    assert read_scores(sweep.folder.later_scores) == before
    seconds = read_sweep(sweep.folder).result.beside_seconds
    assert seconds == pytest.approx(sum(each.seconds for each in before))


def test_known_sets_are_told_in_any_company_and_under_any_name(sweep: Sweep) -> None:
    whole = sweep.score()[1]
    renamed = [{**sweep.sets[1], "name": "other", "when": "end"}]
    alone = sweep.score(sets=renamed, base=False)[0]
    assert alone.cached
    assert alone.scores["other/accuracy"] == whole.scores["quiz/accuracy"]
    assert sweep.score(sets=sweep.sets[::-1], base=False)[0].cached


@pytest.mark.parametrize("what", ["quiz", "rows", "base", "checkpoint", "template", "settings", "limit"])
def test_whatever_decides_a_score_has_it_computed_anew(sweep: Sweep, what: str) -> None:
    sweep.score()
    assert sweep.score()[1].cached
    sets = [dict(each) for each in sweep.sets]
    if what == "quiz":
        same_size_and_time(sweep.quiz, lambda text: text.replace(b'"answer": 1', b'"answer": 2', 3))
    elif what == "rows":
        same_size_and_time(sweep.rows, lambda text: text.replace(b"w1", b"w2"))
    elif what == "base":
        tensors = load_file(sweep.base / "model.safetensors")
        save_file({name: value * 1.5 for name, value in tensors.items()}, sweep.base / "model.safetensors")
    elif what == "checkpoint":
        other = Driverless(tiny_spec(sweep.base, sweep.rows, sweep.folder.storage / "other"))
        longer = other.train(config("full", 3e-3), milestones=1)
        shutil.rmtree(sweep.weights.parent)
        shutil.copytree(other.folder.checkpoint(longer, 0), sweep.weights.parent)
    elif what == "template":
        settings = json.loads((sweep.base / "tokenizer_config.json").read_text())
        settings["chat_template"] = "{% for m in messages %}{{ m.content }} {% endfor %}"
        (sweep.base / "tokenizer_config.json").write_text(json.dumps(settings))
    elif what == "settings":
        sets[1]["prompt"] = "plain"
    else:
        sets[1]["limit"] = 4
    assert not sweep.score(sets=sets)[1].cached
    assert sweep.score(sets=sets)[1].cached


def test_a_changed_file_gives_other_scores(sweep: Sweep) -> None:
    before = sweep.score(base=False)[0].scores
    rows = [json.loads(line) for line in sweep.quiz.read_text().splitlines()]
    sweep.quiz.write_text("\n".join(json.dumps({**row, "answer": 2}) for row in rows))
    after = sweep.score(base=False)[0].scores
    assert after["eval/loss"] == before["eval/loss"]
    assert after["quiz/accuracy"] != before["quiz/accuracy"]


def test_a_file_that_was_only_copied_or_touched_is_still_known(sweep: Sweep) -> None:
    sweep.score()
    content = sweep.quiz.read_bytes()
    sweep.quiz.unlink()
    sweep.quiz.write_bytes(content)
    os.utime(sweep.base / "model.safetensors")
    assert all(model.cached for model in sweep.score())


def test_a_file_that_changes_while_it_is_scored_is_not_known(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    real = multiple_choice.MultipleChoiceScorer.score

    def score(self: Any, entry: Any, subject: Any) -> Any:
        found = real(self, entry, subject)
        sweep.quiz.write_bytes(sweep.quiz.read_bytes().replace(b'"answer": 1', b'"answer": 2'))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(multiple_choice.MultipleChoiceScorer, "score", score)
        first = sweep.score(base=False)[0]
    again = sweep.score(base=False)[0]
    assert not again.cached
    assert again.scores["quiz/accuracy"] != first.scores["quiz/accuracy"]


def test_known_scores_that_cannot_be_read_are_computed_again(sweep: Sweep) -> None:
    first = sweep.score()
    for file in (sweep.folder.cache / "known_scores").iterdir():
        file.write_text('{"scores": {"loss": "much"}')
    (sweep.folder.cache / "file_digests.json").write_text("[]")
    assert [model.scores for model in sweep.score()] == [model.scores for model in first]


def test_a_deleted_checkpoint_is_told_though_its_scores_are_known(sweep: Sweep) -> None:
    sweep.score()
    shutil.rmtree(sweep.weights.parent)
    with pytest.raises(Exception, match="the checkpoint of this trial is gone"):
        sweep.score(trials=[sweep.trial])


def test_costly_scores_are_told_without_the_model_where_only_the_hub_could_tell(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = sweep.sets[1:]
    sweep.score(sets=sets)
    shutil.rmtree(sweep.folder.cache / "known_scores")  # as for a set that files do not tell
    built: list[str] = []
    monkeypatch.setattr("orchestrator.training.setup.session.load_model", lambda *_: built.append("model"))
    assert sweep.score(sets=sets)[1].cached
    assert built == []


def test_digests_are_remembered_by_the_file_as_it_stands(tmp_path: Path) -> None:
    file, memory = tmp_path / "a", tmp_path / "digests.json"
    file.write_bytes(b"one")
    digests = FileDigests(memory)
    one = digests.of(file)
    digests.save()
    assert not memory.exists(), "a file of this very moment may change within one tick of its clock"
    same_size_and_time(file, lambda _: b"two")
    assert digests.of(file) != one
    file.write_bytes(b"one")
    assert digests.of(file) == one


def test_an_idle_follow_reads_nothing_again(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driverless = Driverless(tiny_spec(tiny_base, write_rows(tmp_path / "rows.jsonl"), tmp_path / "runs"))
    first = driverless.train(config("full", 3e-3))
    second: list[str] = []
    parsed: list[int] = []
    looks: list[int] = []
    enough = threading.Event()
    real = journal.from_json

    def parse(line: bytes, **options: Any) -> Any:
        parsed.append(len(line))
        return real(line, **options)

    def driven(_: SweepFolder) -> bool:
        looks.append(len(parsed))
        if len(looks) > 20:
            enough.set()
        return not second

    monkeypatch.setattr(evaluate_follow, "FOLLOW_SECONDS", 0.001)
    monkeypatch.setattr(evaluate_follow, "is_driven", driven)
    followed = evaluate_follow.ended_trials(driverless.folder)
    monkeypatch.setattr(journal, "from_json", parse)
    assert next(followed).result.trial_id == first
    whole = len(parsed)

    def go_on() -> None:
        enough.wait(60)
        second.append(driverless.train(config("full", 1e-3), outcome=Outcome.STOPPED))

    thread = threading.Thread(target=go_on)
    thread.start()
    left = [trial.result.trial_id for trial in followed]
    thread.join()
    assert left == second
    assert looks[1:15] == [whole] * 14, "lines were parsed again while nothing was added"
    assert len(parsed) < 3 * whole, "the journal was read again from its start"
