"""compare: sweeps side by side, and a word where their scores must not be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import compare_sweeps
from orchestrator.errors import InputError
from tests.benchmarks.bench_status import write_sweep

Orchestrate = Callable[..., Any]


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    write_sweep(tmp_path, "one", 4)
    write_sweep(tmp_path, "two", 6)
    return tmp_path


def edit(storage: Path, name: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    file = storage / name / "journal.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    change(records)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def shift(by: float, error: float) -> Callable[[list[dict[str, Any]]], None]:
    """Change every final loss and its standard error."""

    def change(records: list[dict[str, Any]]) -> None:
        for record in records:
            if record["kind"] == "milestone":
                record["scores"]["eval/loss"] += by
                record["standard_errors"]["eval/loss"] = error

    return change


@pytest.mark.parametrize(
    ("by", "error", "standing"),
    [(0.0, 0.1, "within noise"), (-0.5, 0.1, "better"), (0.5, 0.1, "worse"), (0.15, 0.1, "within noise")],
)
def test_winners_are_compared_with_their_errors(storage: Path, by: float, error: float, standing: str) -> None:
    edit(storage, "one", shift(0.0, error))
    edit(storage, "two", shift(by, error))
    first, second = compare_sweeps(["one", "two"], storage=storage).sweeps
    assert (first.difference, first.standing) == (None, "")
    assert second.difference == pytest.approx(by, abs=1e-9)
    assert second.difference_error == pytest.approx(error * 2**0.5)
    assert second.standing == standing
    assert second.winner is not None
    assert second.winner.name == "lora r8 lr0.001 ebs32 s0"
    assert set(second.best_by_method) == {"lora"}


def test_table_shows_cost_and_differing_fields(orchestrate: Orchestrate, storage: Path) -> None:
    edit(storage, "two", lambda records: records[0]["content"]["budget"].update(trials=99))
    answer = orchestrate("compare", "one", "two", "--storage", storage)
    assert answer.code == 0, answer.err
    assert "eval/loss (min)" in answer.out
    assert "24,576 of 24,576" in answer.out
    line = next(line for line in answer.out.splitlines() if line.startswith("budget.trials"))
    assert line.split() == ["budget.trials", "24", "99"]
    values = json.loads(orchestrate("compare", "one", storage / "two", "--storage", storage, "--json").out)
    assert [row["field"] for row in values["differences"]] == ["budget.trials"]
    assert values["warnings"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r[0]["content"]["evaluation"][0].update(limit=3), "the evaluation set 'eval' is not the same"),
        (lambda r: r[0]["inputs"].update({"training data": "x"}), "held out of training data that are not the same"),
        (lambda r: r[0]["content"]["data"].update(split_seed=7), "held out of training data that are not the same"),
        (lambda r: r[0]["inputs"].update({"base model": "x"}), "the base models are not the same"),
    ],
)
def test_scores_on_different_data_are_not_compared(
    orchestrate: Orchestrate, storage: Path, change: Callable[..., None], said: str
) -> None:
    edit(storage, "two", change)
    answer = orchestrate("compare", "one", "two", "--storage", storage)
    assert answer.code == 0
    assert "Not comparable: " in answer.out
    assert said in " ".join(answer.out.split())
    comparison = compare_sweeps(["one", "two"], storage=storage)
    assert [sweep.difference for sweep in comparison.sweeps] == [None, None]


def test_other_data_of_a_set_that_the_objective_does_not_read_is_no_matter(storage: Path) -> None:
    edit(storage, "two", lambda records: records[0]["content"]["evaluation"][1].update(limit=3))
    assert compare_sweeps(["one", "two"], storage=storage).warnings == ()


def test_different_objectives_are_refused_unless_a_metric_is_named(orchestrate: Orchestrate, storage: Path) -> None:
    edit(storage, "two", lambda records: records[0]["content"]["objective"].update(mode="max"))
    answer = orchestrate("compare", "one", "two", "--storage", storage)
    assert answer.code == 2
    assert "one has eval/loss (min); two has eval/loss (max)" in answer.err
    assert "--metric" in answer.err
    named = orchestrate("compare", "one", "two", "--storage", storage, "--metric", "eval/loss")
    assert named.code == 0
    wrong = orchestrate("compare", "one", "two", "--storage", storage, "--metric", "eval/los")
    assert (wrong.code, "Did you mean 'eval/loss'?" in wrong.err) == (2, True)


def test_metric_and_mode_choose_the_best(storage: Path) -> None:
    comparison = compare_sweeps(["one", "two"], "eval/loss", "max", storage)
    winners = [sweep.winner for sweep in comparison.sweeps]
    assert [winner.trial_id for winner in winners if winner] == ["0000000003", "0000000005"]


def test_two_names_of_one_sweep_and_unknown_ones_are_refused(orchestrate: Orchestrate, storage: Path) -> None:
    for words in (["one"], ["one", storage / "one"]):
        answer = orchestrate("compare", *words, "--storage", storage)
        assert (answer.code, "at least two different sweeps" in answer.err) == (2, True)
    unknown = orchestrate("compare", "one", "tow", "--storage", storage)
    assert (unknown.code, unknown.err.endswith("Did you mean 'two'?\n")) == (2, True)
    with pytest.raises(InputError):
        compare_sweeps([], storage=storage)


def test_sweeps_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    write_sweep(tmp_path / "a", "same", 3)
    write_sweep(tmp_path / "b", "same", 3)
    comparison = compare_sweeps([tmp_path / "a" / "same", tmp_path / "b" / "same"])
    assert [sweep.label for sweep in comparison.sweeps] == [str(tmp_path / "a" / "same"), str(tmp_path / "b" / "same")]
    assert comparison.differences == ()
