"""Wrong recorded files: one error that names file and line, field, value, rule and mend."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DataError
from orchestrator.simulation.recorded.files import read_recorded

Values = dict[str, Any]
DELETED = object()


def trial(name: str) -> Values:
    return {
        "sweep": "small",
        "trial": name,
        "config": {"method": "lora", "effective_batch_size": 8, "learning_rate": 1e-3, "seed": 0},
        "cohort": "the sweep",
        "signals": [[8, 2.0, 1.5, 1e-3, None], [16, 1.5, 1.2, 1e-3, 0.5], [24, 1.2, 1.1, 1e-3, 0.4]],
        "evals": [[8, {"eval/loss": 2.1}], [24, {"eval/loss": 1.3}]],
        "final": {"eval/loss": 1.3},
        "samples": 24,
        "seconds": 3.5,
        "status": "completed",
    }


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))
    return path


def changed(field: str, value: object) -> Values:
    """Return the second trial of a file with one dotted field changed or taken away."""
    values = trial("b")
    *path, last = [int(word) if word.isdigit() else word for word in field.split(".")]
    inner: Any = values
    for word in path:
        inner = inner[word]
    if value is DELETED:
        del inner[last]
    else:
        inner[last] = value
    return values


def error_of(*paths: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_recorded(paths)
    return caught.value


def test_file_of_the_tests_is_right(tmp_path: Path) -> None:
    (sweep,) = read_recorded([write(tmp_path / "rows.jsonl", [trial("a"), trial("b")])])
    assert sweep.levels == (8, 24)


FIELDS = [*trial("a"), *(f"config.{name}" for name in trial("a")["config"])]


@pytest.mark.parametrize("field", FIELDS)
def test_missing_field_is_named(tmp_path: Path, field: str) -> None:
    error = error_of(write(tmp_path / "rows.jsonl", [trial("a"), changed(field, DELETED)]))
    assert (error.where, error.field) == (f"{tmp_path / 'rows.jsonl'}:2", field)
    assert error.rule == "this field is missing"
    assert error.mend


ANYTHING = [None, True, [], {}, "many", -1, 1.5, 10**400, float("nan"), float("inf")]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_read_or_refused_by_name(tmp_path: Path, field: str) -> None:
    """No value of any type ends in anything but a sweep or an error that says where it stands."""
    refused = []
    for value in ANYTHING:
        path = write(tmp_path / "rows.jsonl", [trial("a"), changed(field, value)])
        try:
            read_recorded([path])
        except DataError as error:
            refused.append(error)
    assert refused
    for error in refused:
        assert error.where in (f"{path}:1", f"{path}:2")
        assert error.field.startswith((field, "trial"))
        assert error.mend
        assert str(path) in str(error)


WRONG: list[tuple[str, object, str, str]] = [
    ("status", "done", "status", "must be one of completed, diverged"),
    ("status", "complete", "status", "must be one of completed, diverged"),
    ("config", [1], "config", "must be an object"),
    ("config.learning_rate", 0, "config.learning_rate", "must be a finite number above 0"),
    ("config.learning_rate", float("inf"), "config.learning_rate", "must be a finite number above 0"),
    ("config.learning_rate", "1e-3", "config.learning_rate", "must be a finite number above 0"),
    ("config.epochs", 0, "config.epochs", "must be a finite number above 0"),
    ("config.epochs", "10", "config.epochs", "must be a finite number above 0"),
    ("config.effective_batch_size", 0, "config.effective_batch_size", "must be a whole number of at least 1"),
    ("config.effective_batch_size", True, "config.effective_batch_size", "must be a whole number of at least 1"),
    ("config.seed", "first", "config.seed", "must be a whole number"),
    ("config.method", "", "config.method", "must be a text that is not empty"),
    ("trial", 7, "trial", "must be a text that is not empty"),
    ("samples", 0, "samples", "must be a whole number of at least 1"),
    ("seconds", -1.0, "seconds", "must be a finite number of at least 0"),
    ("seconds", None, "seconds", "must be a finite number of at least 0 (it is null)"),
    ("signals", {}, "signals", "must be a list of rows"),
    ("signals.1", [16, 1.5, 1.2, 1e-3], "signals.1", "a row of signals is a list of 5 numbers"),
    ("signals.1", 16, "signals.1", "a row of signals is a list of 5 numbers"),
    ("signals.1.2", "high", "signals.1.grad_norm", "must be a number or null"),
    ("signals.1.2", True, "signals.1.grad_norm", "must be a number or null"),
    ("signals.1.1", 10**400, "signals.1.loss", "must be a number or null"),
    ("signals.1.0", None, "signals.1.samples_seen", "must be a whole number of at least 1 (it is null)"),
    ("signals.1.0", 8.5, "signals.1.samples_seen", "must be a whole number of at least 1"),
    ("signals.1.0", 8, "signals.1.samples_seen", "samples seen must rise from row to row, and the row before has 8"),
    ("signals.2.0", 9, "signals.2.samples_seen", "samples seen must rise from row to row, and the row before has 16"),
    ("evals", {}, "evals", "must be a list of evaluations"),
    ("evals.0", [8], "evals.0", "an evaluation is a list of two: samples seen and its scores"),
    ("evals.0.1", 2.1, "evals.0.scores", "must be an object of metrics"),
    ("evals.0.1", {}, "evals", "no metric is measured in every evaluation of this trial"),
    ("evals.0.1.eval/loss", "2.1", "evals.0.scores.eval/loss", "must be a number or null"),
    ("evals.0.0", -1, "evals.0.samples_seen", "must be a whole number of at least 0"),
    ("evals.1.0", 8, "evals.1.samples_seen", "samples seen must rise from row to row, and the row before has 8"),
    ("final", {}, "final", "a completed trial needs at least one metric in its final scores"),
    ("final", [], "final", "must be an object of metrics"),
    ("sample", 24, "sample", "this field is not known here"),
]


@pytest.mark.parametrize(("field", "value", "named", "rule"), WRONG)
def test_wrong_value_is_named_with_its_rule(tmp_path: Path, field: str, value: object, named: str, rule: str) -> None:
    path = write(tmp_path / "rows.jsonl", [trial("a"), changed(field, value)])
    error = error_of(path)
    assert (error.where, error.field) == (f"{path}:2", named)
    assert error.rule == rule
    assert error.mend


@pytest.mark.parametrize(
    ("field", "instead", "mend"),
    [
        ("samples", "sample", "did you mean 'samples'?"),
        ("signals", "signal", "did you mean 'signals'?"),
        ("config.learning_rate", "learning_rte", "did you write it as 'learning_rte'?"),
    ],
)
def test_misspelt_field_names_the_nearest(tmp_path: Path, field: str, instead: str, mend: str) -> None:
    values = trial("b")
    holder, name = (values["config"], "learning_rate") if "." in field else (values, field)
    holder[instead] = holder.pop(name)
    assert error_of(write(tmp_path / "rows.jsonl", [trial("a"), values])).mend == mend


def test_config_may_hold_anything_else(tmp_path: Path) -> None:
    values = trial("b")
    values["config"] |= {"r": 8, "schedule": {"name": "wsd"}, "targets": ["q", "v"]}
    (sweep,) = read_recorded([write(tmp_path / "rows.jsonl", [trial("a"), values])])
    assert sweep.trials[1].config["targets"] == ["q", "v"]


def test_diverged_trial_may_have_no_scores(tmp_path: Path) -> None:
    values = {**trial("b"), "status": "diverged", "final": {}, "evals": []}
    (sweep,) = read_recorded([write(tmp_path / "rows.jsonl", [trial("a"), values])])
    assert (sweep.trials[1].final, sweep.trials[1].evals) == ({}, ())


def test_mixed_objectives_name_both_lines(tmp_path: Path) -> None:
    other = {**trial("b"), "evals": [[8, {"general/loss": 2.1}], [24, {"general/loss": 1.3}]]}
    path = write(tmp_path / "rows.jsonl", [trial("a"), other])
    error = error_of(path)
    assert (error.where, error.field, error.value) == (f"{path}:2", "evals", "general/loss")
    assert error.rule.startswith("mixed objectives")
    assert f"{path}:1 has eval/loss" in error.rule


def test_one_evaluation_with_another_metric_is_mixed_too(tmp_path: Path) -> None:
    both = {"eval/loss": 1.0, "general/loss": 1.0}
    rows = [{**trial(name), "evals": [[8, both], [24, both]]} for name in "abc"]
    rows[2]["evals"] = [[8, both], [24, {"eval/loss": 1.0}]]
    error = error_of(write(tmp_path / "rows.jsonl", rows))
    assert (error.where.rpartition(":")[2], error.value) == ("3", "eval/loss")


def test_repeated_trial_names_both_places(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, [trial("a"), trial(other)]) for name, other in (("1", "b"), ("2", "c")))
    error = error_of(first, second)
    assert (error.where, error.field, error.value) == (f"{second}:1", "trial", "a")
    assert f"at {first}:1" in error.rule


def test_sweep_of_one_trial_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [trial("a"), trial("b"), {**trial("c"), "sweep": "lonely"}])
    error = error_of(path)
    assert (error.where, error.field) == (f"{path}:3", "trial")
    assert "sweep lonely has this one trial only, of 2 at least" in error.rule


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"[1, 2]", "each line must be a JSON object, one trial"),
        (b"null", "each line must be a JSON object, one trial"),
        (b'{"sweep": "small",', "is not valid JSON"),
        (b'{"sweep": "sm', "is not valid JSON"),
        (b'{"sweep": "\xff"}', "must be UTF-8 text"),
        (b"[" * 100_000, "is not usable JSON"),
        (b'{"samples": ' + b"9" * 5000 + b"}", "is not usable JSON"),
    ],
)
def test_line_that_is_no_trial_is_named(tmp_path: Path, line: bytes, rule: str) -> None:
    path = write(tmp_path / "rows.jsonl", [trial("a")])
    path.write_bytes(path.read_bytes() + b"\n" + line + b"\n")
    error = error_of(path)
    assert error.where == f"{path}:3"
    assert error.rule.startswith(rule)
    assert error.mend


def _truncated(data: bytes) -> bytes:
    return gzip.compress(data)[:-20]


def _damaged(data: bytes) -> bytes:
    packed = bytearray(gzip.compress(data))
    packed[len(packed) // 2] ^= 0xFF
    return bytes(packed)


@pytest.mark.parametrize("spoil", [bytes, _truncated, _damaged])
def test_damaged_gzip_is_one_error(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    rows = write(tmp_path / "rows.jsonl", [trial(f"t{number}") for number in range(400)])
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(spoil(rows.read_bytes()))
    error = error_of(path)
    assert error.where.startswith(f"{path}:")
    assert "cannot be decompressed" in error.rule or spoil is _damaged


def test_gzip_under_a_plain_name_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(gzip.compress(b"{}\n"))
    assert error_of(path).mend == "it is compressed: let its name end in .gz"


def test_missing_empty_and_unreadable_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n \n")
    (tmp_path / "empty.jsonl.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "folder.jsonl").mkdir()
    for name, rule in (
        ("none.jsonl", "there is no such file"),
        ("empty.jsonl", "the file is empty"),
        ("empty.jsonl.gz", "the file is empty"),
        ("folder.jsonl", "cannot be read"),
    ):
        error = error_of(tmp_path / name)
        assert error.where == str(tmp_path / name)
        assert error.rule.startswith(rule)
        assert error.mend
    assert error_of().rule == "no file was given"
