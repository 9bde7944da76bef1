"""Recorded sweeps on disk: what is written is read back, equal sweeps are equal bytes, several may share a file."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DataError, StorageError
from orchestrator.simulation.recorded.files import read_recorded, write_recorded
from orchestrator.simulation.recorded.lines import FIELDS
from orchestrator.simulation.recorded.sweep import RecordedSweep, RecordedTrial
from orchestrator.simulation.synthetic.sweeps import synthetic_sweep

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
numbers = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.1, 1e-7, 5e-324])


@st.composite
def rising(draw: st.DrawFn, first: int = 1, most: int = 6) -> list[int]:
    places = draw(st.sets(st.integers(first, 10**7), max_size=most))
    return sorted(places)


@st.composite
def trials(draw: st.DrawFn, name: str, metrics: list[str]) -> RecordedTrial:
    steps = draw(rising())
    rows = [[samples, *draw(st.tuples(numbers, numbers, numbers, numbers))] for samples in steps]
    scores = st.fixed_dictionaries(dict.fromkeys(metrics, numbers))
    status = draw(st.sampled_from(["completed", "diverged"]))
    final = draw(st.dictionaries(texts, numbers, min_size=1 if status == "completed" else 0, max_size=3))
    config = {
        "method": draw(texts),
        "effective_batch_size": draw(st.integers(1, 4096)),
        "learning_rate": draw(st.floats(0, exclude_min=True, allow_infinity=False)),
        "seed": draw(st.integers(0, 2**40)),
        "note": draw(texts | st.none() | st.lists(st.integers())),
    }
    return RecordedTrial(
        trial=name,
        config=config,
        cohort=draw(texts),
        signals=np.array(rows, dtype=float).reshape(-1, 5),
        evals=tuple((samples, draw(scores)) for samples in draw(rising(0, 3))),
        final=final,
        samples=draw(st.integers(1, 10**9)),
        seconds=draw(st.floats(0, 1e300)),
        status=status,
    )


@st.composite
def sweeps(draw: st.DrawFn) -> RecordedSweep:
    metrics = draw(st.lists(texts, min_size=1, max_size=3, unique=True))
    names = draw(st.lists(texts, min_size=2, max_size=4, unique=True))
    return RecordedSweep(draw(texts), tuple(draw(trials(name, metrics)) for name in names))


def assert_close(read: Any, written: Any) -> None:
    # Six significant digits; numbers too small for as many keep those that they have.
    np.testing.assert_allclose(read, written, rtol=5.1e-6, atol=1e-307, equal_nan=True)


@given(sweeps(), st.sampled_from(["sweep.jsonl", "sweep.jsonl.gz"]))
def test_what_is_written_is_read_back(sweep: RecordedSweep, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_recorded(sweep, path)
        (read,) = read_recorded([path])
        first = path.read_bytes()
        write_recorded(read, path)
        assert path.read_bytes() == first
        assert [entry.name for entry in Path(folder).iterdir()] == [name]
    assert read.name == sweep.name
    for back, trial in zip(read.trials, sweep.trials, strict=True):
        assert (back.trial, back.cohort, back.samples, back.status) == (
            trial.trial,
            trial.cohort,
            trial.samples,
            trial.status,
        )
        assert dict(back.config) == dict(trial.config)
        assert back.signals[:, 0].tolist() == trial.signals[:, 0].tolist()
        assert_close(back.signals, trial.signals)
        assert_close(back.seconds, trial.seconds)
        for (samples, scores), (known, expected) in zip(back.evals, trial.evals, strict=True):
            assert (samples, list(scores)) == (known, list(expected))
            assert_close(list(scores.values()), list(expected.values()))
        assert back.final.keys() == trial.final.keys()
        assert_close(list(back.final.values()), list(trial.final.values()))


@given(sweeps())
def test_every_line_is_json_for_strict_readers(sweep: RecordedSweep) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.jsonl"
        write_recorded(sweep, path)
        lines = path.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    for line, trial in zip(lines, sweep.trials, strict=True):
        assert json.loads(line, parse_constant=refuse)["trial"] == trial.trial


def test_same_sweep_gives_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_recorded(synthetic_sweep(4, 0), tmp_path / name)
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert (tmp_path / "one.jsonl.gz").read_bytes()[4:8] == bytes(4), "no time of writing"


def test_literals_of_python_and_null_are_read(tmp_path: Path) -> None:
    write_recorded(synthetic_sweep(2, 0), tmp_path / "sweep.jsonl")
    lines = (tmp_path / "sweep.jsonl").read_text().splitlines()
    values = json.loads(lines[0])
    values["signals"] = [[8, math.nan, math.inf, None, -math.inf]]
    values["evals"] = [[8, {"eval/loss": None, "general/loss": math.inf}]]
    (tmp_path / "sweep.jsonl").write_text("\n\n".join([json.dumps(values), *lines[1:]]))
    (sweep,) = read_recorded([tmp_path / "sweep.jsonl"])
    np.testing.assert_array_equal(sweep.trials[0].signals, [[8, np.nan, np.inf, np.nan, -np.inf]])
    scores = sweep.trials[0].evals[0][1]
    assert math.isnan(scores["eval/loss"])
    assert scores["general/loss"] == math.inf


def test_sweeps_share_files_and_files_share_sweeps(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl.gz"
    write_recorded(synthetic_sweep(4, 0), tmp_path / "a.jsonl")
    write_recorded(synthetic_sweep(3, 1), tmp_path / "b.jsonl")
    a, b = ((tmp_path / name).read_text().splitlines(keepends=True) for name in ("a.jsonl", "b.jsonl"))
    first.write_text("".join([*b[:1], *a[:2], *b[1:]]))
    (tmp_path / "rest.jsonl").write_text("".join(a[2:]))
    write_recorded(synthetic_sweep(2, 2), second)
    found = read_recorded([first, tmp_path / "rest.jsonl", second])
    assert [(sweep.name, [trial.trial for trial in sweep.trials]) for sweep in found] == [
        ("synthetic-1", ["t00000", "t00001", "t00002"]),
        ("synthetic-0", ["t00000", "t00001", "t00002", "t00003"]),
        ("synthetic-2", ["t00000", "t00001"]),
    ]


def test_metrics_of_some_evaluations_only_stay_out_of_evals(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    write_recorded(synthetic_sweep(2, 0), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for values in lines:
        values["evals"][-1][1]["skills/exact_match"] = 0.5
        values["final"]["skills/exact_match"] = 0.5
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))
    (sweep,) = read_recorded([path])
    for trial in sweep.trials:
        assert {name for _, scores in trial.evals for name in scores} == {"eval/loss", "general/loss"}
        assert trial.final["skills/exact_match"] == 0.5


def test_file_that_cannot_be_written_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "x.jsonl").mkdir()
    for path in (tmp_path / "nowhere" / "x.jsonl", tmp_path / "taken" / "x.jsonl", tmp_path / "x.jsonl"):
        with pytest.raises(StorageError, match="cannot be written"):
            write_recorded(synthetic_sweep(2, 0), path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["taken", "x.jsonl"]


def test_example_of_the_documentation_is_read_and_its_error_is_told(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recorded-sweeps.md").read_text()
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    fields = page.partition("## The shipped sweeps")[0]
    named = [line.partition("`")[2].partition("`")[0] for line in fields.splitlines() if line.startswith("| `")]
    assert named == list(FIELDS) == list(example)
    path = tmp_path / "mine.jsonl"
    lines = [json.dumps({**example, "trial": name}) for name in "abcdef"]
    path.write_text("\n".join(lines))
    (sweep,) = read_recorded([path])
    assert sweep.levels == (32,)
    example["signals"] = [[16 * (step + 1), 3.1, 9.5, 0.001, None] for step in range(14)]
    example["signals"][12][0] = example["signals"][11][0] = 208
    path.write_text("\n".join([*lines, json.dumps({**example, "trial": "g"})]))
    with pytest.raises(DataError) as caught:
        read_recorded([path])
    assert f"error  {str(caught.value).removeprefix(f'{tmp_path}/')}\n" in page


def test_milestones_are_where_the_trial_that_passed_them_least_stands() -> None:
    """Batches of 24 and 8, milestones at 100 and 200 of 300 samples: no trial's later evaluation counts as its first."""

    def trial(name: str, batch: int) -> RecordedTrial:
        steps = [min(place, 300) for place in range(batch, 300 + batch, batch)]
        evaluated = [next(step for step in steps if step >= level) for level in (100, 200, 300)]
        evals = ((0, {"eval/loss": 9.0}), *((samples, {"eval/loss": 1.0 + at}) for at, samples in enumerate(evaluated)))
        config = {"method": "full", "effective_batch_size": batch, "learning_rate": 1e-3, "seed": 0}
        signals = np.array([[step, 1.0, 1.0, 1e-3, np.nan] for step in steps])
        return RecordedTrial(name, config, "all", signals, evals, evals[-1][1], 300, 1.0)

    sweep = RecordedSweep("uneven", (trial("large", 24), trial("small", 8)))
    assert sweep.levels == (104, 200, 300)
    for one in sweep.trials:
        for index, level in enumerate(sweep.levels):
            assert one.scores_at(one.samples_at(level)) == {"eval/loss": 1.0 + index}
