"""After a sweep of training of one's own: its checkpoints exported, its trials run again, trained on, and found again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import ExtendRequest, export_trial, extend_sweep, rerun_trial
from orchestrator.errors import InputError
from orchestrator.records import TrialConfig
from orchestrator.spec.loading import load_sweep
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.tuning.own_training.start import end_nurseries
from tests.worlds.own_driverless import CODE, SWEEP, OwnDriverless, write_project

EXAMPLES = Path(__file__).resolve().parents[2] / "search_spaces" / "examples"
NO_CHECKPOINTS = CODE.replace("with trial.save_checkpoint(seen) as folder:", "if False:")
Orchestrate = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    end_nurseries()


def finished(folder: Path, code: str) -> tuple[SweepFolder, str]:
    driver = OwnDriverless(write_project(folder, code))
    trial = driver.train(TrialConfig("own", 8, 0.1, 64, method_options={"quality": 0.5}))
    return driver.end(), trial


@pytest.fixture
def mine(tmp_path: Path) -> tuple[SweepFolder, str]:
    return finished(tmp_path / "project", CODE)


# -- export --------------------------------------------------------------------------------------------


def test_export_writes_what_the_code_saved_with_a_card(mine: tuple[SweepFolder, str], tmp_path: Path) -> None:
    folder, trial = mine
    result = export_trial(folder, tmp_path / "out")
    assert (result.form, result.trial_id, result.difference) == ("own", trial, None)
    assert result.files == ("README.md", "loss.json", "more/words.txt", "orchestrate.json")
    loss = 2.0 * 0.95**8
    assert json.loads((tmp_path / "out" / "loss.json").read_text()) == pytest.approx(loss)
    card = (tmp_path / "out" / "README.md").read_text()
    for text in (
        "script.py:train",
        "64 of 64 samples",
        "`eval/loss`",
        f"orchestrate rerun mine {trial}",
        "quality: 0.5",
        "digest of file script.py",
    ):
        assert text in card, text
    assert "base model" not in card
    capsule = json.loads((tmp_path / "out" / "orchestrate.json").read_text())
    assert (capsule["trial"]["trial_id"], capsule["files"]["samples_seen"]) == (trial, 64)
    assert list(capsule["inputs"]) == ["file script.py"]


def test_recipe_of_the_card_is_a_sweep_file_beside_the_code(mine: tuple[SweepFolder, str], tmp_path: Path) -> None:
    folder, _ = mine
    export_trial(folder, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    place = tmp_path / "project" / "recipe.yaml"
    place.write_text(card.split("```yaml\n")[1].split("```")[0])
    spec = load_sweep(place)
    assert spec.budget.trials == 1
    assert spec.entrypoint is not None


@pytest.mark.parametrize("words", [["--merge"], ["--dtype", "float16"], ["--register", "model"]])
def test_options_that_need_to_know_the_files_are_refused(
    mine: tuple[SweepFolder, str], orchestrate: Orchestrate, tmp_path: Path, words: list[str]
) -> None:
    answer = orchestrate("export", mine[0].root, "--to", tmp_path / "out", *words)
    assert answer.code == 2
    assert words[0] in answer.err
    assert "code of its own" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_readme_of_the_code_is_kept_beside_the_card(tmp_path: Path) -> None:
    code = CODE.replace(
        '"words.txt").write_text("a")',
        '"words.txt").write_text("a")\n                (folder / "README.md").write_text("theirs")',
    )
    folder, _ = finished(tmp_path / "project", code)
    export_trial(folder, tmp_path / "out")
    assert (tmp_path / "out" / "README.from-code.md").read_text() == "theirs"
    assert "Run it again" in (tmp_path / "out" / "README.md").read_text()


def test_code_that_saves_nothing_is_told_what_is_missing(tmp_path: Path, orchestrate: Orchestrate) -> None:
    folder, _ = finished(tmp_path / "project", NO_CHECKPOINTS)
    for words in (
        ["export", folder.root, "--to", tmp_path / "out"],
        ["extend", folder.root, "--best", 1, "--samples", 128],
    ):
        answer = orchestrate(*words)
        assert answer.code == 2, answer.err
        assert "saved no checkpoint" in answer.err
        assert "trial.save_checkpoint" in answer.err
        assert "SweepCallback" in answer.err
    assert not (tmp_path / "out").exists()


# -- rerun ---------------------------------------------------------------------------------------------


def test_rerun_runs_the_code_again_and_leaves_the_sweep_alone(mine: tuple[SweepFolder, str]) -> None:
    folder, trial = mine
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.root.rglob("*"))
    result = rerun_trial(folder, trial)
    assert (result.verdict, result.signals.verdict, result.signals.steps) == ("identical", "identical", 8)
    assert [each.samples_seen for each in result.scores] == [32, 64]
    assert [line.agreement for line in result.capsule if line.what == "file script.py"] == ["same"]
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.root.rglob("*")) == before


def test_rerun_says_that_the_code_changed_and_what_became_of_it(
    mine: tuple[SweepFolder, str], orchestrate: Orchestrate
) -> None:
    folder, trial = mine
    script = folder.storage.parent / "script.py"
    script.write_text(CODE.replace("0.1 *", "0.2 *"))
    answer = orchestrate("rerun", folder.root, trial)
    assert answer.code == 1
    assert "file script.py is not the same" in answer.out
    assert "The result is not the same" in answer.out


def test_rerun_keeps_a_checkpoint_that_export_takes(mine: tuple[SweepFolder, str], tmp_path: Path) -> None:
    folder, trial = mine
    shutil.rmtree(folder.own_checkpoints(trial))
    with pytest.raises(InputError, match="--keep DIR, then export with --checkpoint DIR"):
        export_trial(folder, tmp_path / "out")
    kept = rerun_trial(folder, trial, keep=tmp_path / "kept").kept
    assert kept == str(tmp_path / "kept")
    result = export_trial(folder, tmp_path / "out", checkpoint=kept)
    assert "loss.json" in result.files
    with pytest.raises(InputError, match="no complete checkpoint"):
        export_trial(folder, tmp_path / "more", checkpoint=tmp_path)


def test_rerun_takes_no_device(mine: tuple[SweepFolder, str]) -> None:
    with pytest.raises(InputError, match="chooses its device itself"):
        rerun_trial(*mine, device="cpu")


def test_code_that_fails_now_is_told_with_its_output(mine: tuple[SweepFolder, str], orchestrate: Orchestrate) -> None:
    folder, trial = mine
    (folder.storage.parent / "script.py").write_text("def train(trial):\n    raise ValueError('no such luck')\n")
    answer = orchestrate("rerun", folder.root, trial)
    assert answer.code == 1
    assert "no such luck" in answer.err


# -- moved and copied ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_code_is_found_again_where_it_was_moved_with_the_storage(
    mine: tuple[SweepFolder, str], tmp_path: Path, how: Callable[..., Any]
) -> None:
    how(str(tmp_path / "project"), str(tmp_path / "elsewhere"))
    folder = SweepFolder(tmp_path / "elsewhere" / "runs", "mine")
    assert rerun_trial(folder, mine[1]).verdict == "identical"


def test_of_two_copies_of_the_code_the_one_counts_that_the_sweep_was_run_with(
    mine: tuple[SweepFolder, str], tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "project", tmp_path / "elsewhere")
    (tmp_path / "project" / "script.py").write_text(CODE.replace("0.1 *", "0.2 *"))
    folder = SweepFolder(tmp_path / "elsewhere" / "runs", "mine")
    assert rerun_trial(folder, mine[1]).verdict == "identical"


def test_code_that_is_gone_is_named_with_the_places_that_were_looked_into(
    mine: tuple[SweepFolder, str], tmp_path: Path, orchestrate: Orchestrate
) -> None:
    shutil.move(str(tmp_path / "project" / "runs"), str(tmp_path / "far" / "away" / "runs"))
    shutil.rmtree(tmp_path / "project")
    root = tmp_path / "far" / "away" / "runs" / "mine"
    for words in (["rerun", root, mine[1]], ["extend", root, "--best", 1, "--samples", 128]):
        answer = orchestrate(*words)
        assert answer.code == 2, answer.err
        assert "its code is gone" in answer.err
        assert str(tmp_path / "project") in answer.err
        assert str(tmp_path / "far" / "away") in answer.err


# -- extend --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "request_", "said"),
    [
        (SWEEP, {"best": 1, "epochs": 2.0}, "the size of the data that your own code trains on is unknown"),
        (SWEEP, {"best": 1, "samples": 64}, "must be more than the budget"),
        (
            SWEEP.replace("learning_rate: 0.1", "learning_rate: 0.1, schedule: cosine"),
            {"best": 1, "samples": 128},
            "followed the schedule cosine",
        ),
        (
            SWEEP.replace("learning_rate: 0.1", "learning_rate: 0.1, schedule: cosine"),
            {"best": 1, "samples": 128, "restart_schedule": True},
            "only your own code could start anew",
        ),
    ],
)
def test_extensions_that_cannot_be_are_refused_before_anything_starts(
    tmp_path: Path, sweep: str, request_: dict[str, Any], said: str
) -> None:
    driver = OwnDriverless(write_project(tmp_path / "project", sweep=sweep))
    schedule = "cosine" if "cosine" in sweep else "constant"
    driver.train(TrialConfig("own", 8, 0.1, 64, schedule=schedule, method_options={"quality": 0.5}))
    folder = driver.end()
    before = folder.journal.read_bytes()
    with pytest.raises(InputError, match=said):
        extend_sweep(folder, ExtendRequest(**request_))
    assert folder.journal.read_bytes() == before


# -- the shipped examples ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "options", "rate", "file"),
    [
        ("plain_pytorch", {"width": 16, "dropout": 0.1}, 1e-2, "state.pt"),
        ("trl_sft", {"r": 4}, 1e-2, "adapter_model.safetensors"),
    ],
)
def test_examples_are_exported_and_run_again_alike(
    example: str, options: dict[str, Any], rate: float, file: str, tmp_path: Path
) -> None:
    samples = 64
    spec = load_sweep(EXAMPLES / f"{example}.yaml", [f"storage={tmp_path / 'runs'}", f"budget.samples={samples}"])
    driver = OwnDriverless(spec, levels=(32, samples))
    method = "lora" if example == "trl_sft" else "own"
    trial = driver.train(TrialConfig(method, 16, rate, samples, method_options=options))
    folder = driver.end()
    exported = export_trial(folder, tmp_path / "out")
    assert file in exported.files
    again = rerun_trial(folder, trial)
    assert again.verdict == "identical"
    assert again.weights is True
