"""``orchestrate reproduce``: what it says of sweeps that are there, and of requests that make no sense."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.api import reproduce
from orchestrator.api.reproduction.subject import Bases, split_data
from orchestrator.api.reproduction.sweeps import suite_specs
from orchestrator.cli import app
from orchestrator.errors import DataError, InputError, ModelError, StorageError
from orchestrator.records import TrialConfig
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.registration import registration, registration_digest
from orchestrator.reporting.findings.registration.render import Subject
from orchestrator.reporting.findings.registration.scaling import MILESTONE_SHARES, PAPER, SCALES
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.search_space.enumeration import count_configs, grid_configs
from orchestrator.training.data.sources import open_source
from tests.worlds.report_sweeps import MadeSweep

MINI = SCALES["mini"]
LEVELS = [round(share * 7_200) for share in MILESTONE_SHARES]


class MadeGrid(MadeSweep):
    """A sweep of the suite that was never trained: every configuration of its grid, scored by a formula."""

    def configs(self):
        return iter(grid_configs(self.spec.search_space, self._levels[-1]))


def suite_scores(config: TrialConfig, level: int) -> dict[str, float]:
    """Scores that rise with samples, scatter a little by seed, and do not care for warm-up or schedule."""
    value = 0.5 * level / 7_200 + 0.002 * (config.seed * 7 % 5) + (0.001 if config.warmup_amount else 0.0)
    questions = {f"{kind}{end}/exact_match": value for kind in ("knowledge", "skills") for end in ("", "_validation")}
    return {**questions, "eval/loss": 2 - value, "validation/loss": 2 - value, "general/forgetting": 1 - value}


def made(storage: Path, name: str, trials: int | None = None, scores=suite_scores, **values) -> None:
    """Write a design's sweep; all of its trials unless ``trials`` says how many."""
    specs = suite_specs([name], MINI, Subject(**values), Bases("testbed", "testbed"), storage.resolve(), None, None)
    levels = [level for level in LEVELS if level <= specs[name].budget.samples]
    sweep = MadeGrid(storage, specs[name], scores, stopped_at=lambda config: None, levels=levels)
    whole = count_configs(specs[name].search_space)
    sweep.train(whole if trials is None else trials)
    sweep.end("completed" if trials is None else "interrupted")


def run(*words: str):
    return CliRunner().invoke(app, ["reproduce", "secret-recipe", *words])


def test_judges_complete_sweeps_and_says_what_the_others_wait_for(tmp_path):
    made(tmp_path, "schedule")
    made(tmp_path, "tulu", trials=3)
    found = reproduce("mini", findings=["F3", "F4", "F6"], storage=tmp_path, report_only=True)
    verdicts = {outcome.finding.id: outcome.verdict for outcome in found.outcomes}
    assert verdicts == {"F3": "reproduced", "F4": "reproduced", "F6": None}
    states = {sweep.design: (sweep.trials, sweep.planned, sweep.complete) for sweep in found.facts.sweeps}
    assert states == {
        "schedule": (30, 30, True),
        "tulu": (3, 5, False),
        "tulu_long": (0, 5, False),
        "tulu_plus": (0, 5, False),
    }
    page, markdown = found.page.read_text(), found.markdown.read_text()
    for text in (page, markdown):
        assert "38 of 45 trials" not in text
        assert "33 of 45 trials" in text
        assert registration_digest() in text
        assert "it waits for tulu" in text
    assert "no warm-up minus 25 steps" in page
    assert "0.531" in page, "the paper's own number is drawn"


def test_logs_verdicts_effects_and_pages_to_a_parent_run_of_its_own_which_a_second_report_goes_on_with(tmp_path):
    from mlflow.tracking import MlflowClient

    made(tmp_path, "schedule")
    first = reproduce("mini", findings=["F3"], storage=tmp_path, report_only=True)
    again = reproduce("mini", findings=["F3"], storage=tmp_path, report_only=True)
    assert first.run_id
    assert first.run_id == again.run_id
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    logged = client.get_run(first.run_id)
    assert logged.data.tags["verdict.F3"] == "reproduced"
    assert logged.data.metrics["F3/none_minus_25"] == pytest.approx(-0.001, abs=1e-6)
    assert logged.info.status == "FINISHED"
    assert {"findings/report.html", "findings/report.md"} <= {
        file.path for file in client.list_artifacts(first.run_id, "findings")
    }


def test_another_sweep_of_the_same_name_in_the_storage_is_refused(tmp_path):
    made(tmp_path, "schedule", baseline=5e-3)
    with pytest.raises(StorageError, match="another content"):
        reproduce("mini", findings=["F3"], storage=tmp_path, report_only=True)


def test_json_is_one_object_with_every_comparison(tmp_path):
    made(tmp_path, "schedule")
    told = run("--findings", "F3", "--storage", str(tmp_path), "--report-only", "--json")
    assert told.exit_code == 0, told.output
    values = json.loads(told.stdout)
    names = {entry["comparison"] for entry in values["findings"][0]["comparisons"]}
    assert names == {entry.name for entry in registration().finding("F3").comparisons}
    assert values["verdicts"]["reproduced"] == 1


def test_too_few_seeds_leave_a_finding_without_a_verdict(tmp_path):
    with pytest.raises(InputError, match="no verdict with fewer than 3 seeds"):
        reproduce("mini", findings=["F3"], seeds=2, storage=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scale": "minni"}, "did you mean 'mini'"),
        ({"findings": ["F9"]}, "there is no such finding"),
        ({"scale": "gpu"}, "name base and data"),
        ({"scale": "paper", "data": "rows.jsonl"}, "name the data"),
        ({"models": ["testbed"], "findings": ["F7"]}, "two base models"),
        ({"models": ["testbed"] * 3}, "one base model, or two"),
        ({"baseline_rate": -1e-3}, "--baseline-rate = -0.001: a learning rate is a number above 0"),
        ({"baseline_rate": float("inf")}, "a number above 0"),
        ({"scale": "paper", "baseline_rate": 1e-4}, "the paper's own"),
        ({"general_text": "testbed:biographies"}, "--general-text = 'testbed:biographies': is used with --data only"),
        ({"out": "report.pdf"}, "--out = 'report.pdf': a report is a .html or .md file"),
        ({"tracking_uri": "http://127.0.0.1:9"}, "the tracking server must answer"),
        ({"ray_address": "127.0.0.1:9"}, "nothing answers at this address"),
    ],
)
def test_wrong_requests_get_one_message_and_nothing_is_written(tmp_path, arguments, words):
    with pytest.raises(InputError, match=re.compile(words, re.IGNORECASE)):
        reproduce(**arguments, storage=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_missing_models_and_data_get_one_message(tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        reproduce("mini", models=[str(tmp_path / "gone")], storage=tmp_path / "runs")
    with pytest.raises(DataError):
        reproduce("mini", data=str(tmp_path / "gone.jsonl"), storage=tmp_path / "runs")
    with pytest.raises(DataError):
        reproduce("mini", data="testbed:sft", general_text=str(tmp_path / "gone.txt"), storage=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_storage_that_cannot_be_written_is_told_before_a_base_is_pretrained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"storage = '.*/file/runs': '.*/file' is a file, not a folder"):
        reproduce("smoke", storage=tmp_path / "file" / "runs")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"prompt": "ask", "completion": "reply"}\n{"prompt": "ask"', r"own.jsonl:2: is not valid JSON"),
        ('{"question": "ask", "reply": "never"}\n' * 3, "own.jsonl.*question, reply|own.jsonl.*'question', 'reply'"),
        ('{"prompt": "ask", "completion": {"a": 1}}\n' * 3, r"own.jsonl: row 1: completion = "),
        ('{"prompt": "ask", "completion": "reply"}\n' * 9, "--data = .* it has 9 rows, scale smoke needs 108"),
        ("", "own.jsonl: holds no rows"),
    ],
    ids=["damaged", "shape", "no text", "few", "empty"],
)
def test_own_data_that_cannot_be_used_are_named_where_they_stand(tmp_path, text, words):
    file = tmp_path / "own.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        reproduce("smoke", data=str(file), storage=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_general_text_without_text_is_told(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.txt"):
        reproduce(
            "smoke", data="testbed:sft?rows=200", general_text=str(tmp_path / "empty.txt"), storage=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()


def test_a_list_of_findings_that_names_none_is_told(tmp_path):
    told = run("--findings", " , ", "--storage", str(tmp_path / "runs"))
    assert isinstance(told.exception, InputError)
    assert "names no finding" in str(told.exception)


def test_paper_scale_without_weights_gets_one_message(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    from orchestrator.training.model import hub

    hub.is_reachable.cache_clear()
    try:
        with pytest.raises(ModelError, match="weights are not on this machine"):
            reproduce("paper", findings=["F1"], storage=tmp_path / "runs")
    finally:
        hub.is_reachable.cache_clear()
    assert not (tmp_path / "runs").exists()


def test_every_sweep_file_of_the_papers_scale_that_a_finding_names_is_shipped_and_is_a_grid():
    names = [name for name, design in designs().items() if design.paper]
    assert {"grid", "grid_second", "schedule", "strategy", "tulu", "tulu_plus"} == set(names)
    specs = suite_specs(names, PAPER, Subject(), Bases("", ""), Path("runs"), None, None)
    assert all(count_configs(spec.search_space) for spec in specs.values())
    grid = load_sweep(designs()["grid"].paper[0]).search_space
    assert set(grid.effective_batch_size.grid()) == set(designs()["grid"].batches)
    assert set(designs()["grid"].rates) <= set(grid.learning_rate.grid())


def test_own_data_are_split_into_disjoint_rows_once(tmp_path):
    rows = [{"prompt": f"ask {place}", "completion": f"reply {place}"} for place in range(1_200)]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    folder = split_data(str(file), MINI, tmp_path / "runs")
    parts = {part: open_source(str(folder / f"{part}.jsonl")).rows() for part in ("train", "test", "validation")}
    assert {part: len(found) for part, found in parts.items()} == {"train": 720, "test": 192, "validation": 192}
    asked = [row["prompt"] for found in parts.values() for row in found]
    assert len(set(asked)) == len(asked)
    before = (folder / "train.jsonl").stat().st_mtime_ns
    assert split_data(str(file), MINI, tmp_path / "runs") == folder
    assert (folder / "train.jsonl").stat().st_mtime_ns == before


def test_own_data_with_too_few_rows_get_one_message(tmp_path):
    file = tmp_path / "few.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": str(place), "completion": "a"}) for place in range(30)))
    with pytest.raises(DataError, match=r"30 rows, scale mini needs 1,104"):
        split_data(str(file), MINI, tmp_path / "runs")


def test_report_only_on_a_base_of_ones_own_needs_its_baseline(tmp_path):
    with pytest.raises(InputError, match="baseline learning rate"):
        reproduce("mini", data="testbed:sft?rows=1200", storage=tmp_path, report_only=True)
