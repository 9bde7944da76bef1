"""Phases, mixtures and expectations in sweep files: errors with file, line and field; digests; round trips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.settings.data import DataSettings, MixturePart, Phase, find_problem
from orchestrator.spec.loading import load_sweep, parse_sweep
from orchestrator.spec.sweep import SweepSpec, resolved
from tests.worlds.sweep_files import SWEEP, line_of

MIXED = SWEEP.replace(
    "data: {train: rows.jsonl}\n",
    """\
data:
  mixture:
    - {name: chat, train: chat.jsonl, weight: 2}
    - {name: code, train: code.csv, weight: 1, format: prompt_completion}
  phases:
    - name: knowledge
      where: {metadata.phase: [knowledge, documents], unmask: true}
    - name: skills
      where: {metadata.phase: skills}
      replay: 0.01
  expected: {rows: 1000, mean_tokens: 90.5}
""",
)


def load(tmp_path: Path, text: str, *overrides: str) -> SweepSpec:
    file = tmp_path / "sweep.yaml"
    file.write_text(text, encoding="utf-8")
    return load_sweep(file, overrides)


def test_sweep_with_mixture_phases_and_expectation_loads_and_round_trips(tmp_path: Path) -> None:
    spec = load(tmp_path, MIXED)
    assert spec.data.sources == ("chat.jsonl", "code.csv")
    assert spec.data.phases[0].where == {"metadata.phase": ["knowledge", "documents"], "unmask": True}
    assert SweepSpec.model_validate(dict(resolved(spec))) == spec
    again = parse_sweep(spec.content())
    assert again.data.mixture == spec.data.mixture
    assert again.digest == spec.digest


def test_digest_follows_the_data_and_not_what_is_expected_of_it(tmp_path: Path) -> None:
    base = load(tmp_path, MIXED)
    assert load(tmp_path, MIXED.replace("mean_tokens: 90.5", "mean_tokens: 91")).digest == base.digest
    assert load(tmp_path, MIXED, "data.expected=null").digest == base.digest
    for old, new in [
        ("weight: 2", "weight: 3"),
        ("replay: 0.01", "replay: 0.02"),
        ("[knowledge, documents]", "documents"),
    ]:
        assert load(tmp_path, MIXED.replace(old, new)).digest != base.digest


def test_digest_of_sweeps_without_the_later_fields_stays(tmp_path: Path) -> None:
    two = SWEEP.replace("{train: rows.jsonl}", "{phases: [{name: a, train: a.jsonl}, {name: b, train: b.jsonl}]}")
    data = load(tmp_path, two).content()["data"]
    assert data["phases"] == [{"name": "a", "train": "a.jsonl"}, {"name": "b", "train": "b.jsonl"}]
    assert not {"mixture", "expected"} & set(data)


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("weight: 2", "wait: 2", "data.mixture.0.wait", "not known here"),
        ("weight: 2", "weight: 0", "data.mixture.0.weight", "greater than 0"),
        ("weight: 2", "rows: 10", "data.mixture.0", "so this one needs a weight too"),
        ("weight: 2", "weight: yes", "data.mixture.0.weight", "must be a number"),
        ("name: chat", "name: code", "data.mixture.1.name", "different names"),
        ("replay: 0.01", "replay: 1.5", "data.phases.1.replay", "less than or equal to 1"),
        ("replay: 0.01", "share: 0.5", "data.phases.1", "this one has where and share"),
        ("rows: 1000", "rows: 1", "data.expected.rows", "greater than or equal to 2"),
        ("mean_tokens: 90.5", "tokens: 3", "data.expected.tokens", "not known here"),
        ("  mixture:", "  train: x.jsonl\n  mixture:", "data.train", "the mixture is the training data"),
    ],
)
def test_wrong_data_settings_name_file_line_and_field(
    tmp_path: Path, old: str, new: str, field: str, rule: str
) -> None:
    text = MIXED.replace(old, new)
    with pytest.raises(SpecError) as found:
        load(tmp_path, text)
    assert found.value.field == field
    assert rule in found.value.rule
    assert found.value.where.startswith(f"{tmp_path / 'sweep.yaml'}:")
    if field.rpartition(".")[2] in new:
        line = (
            line_of(text, "name: code") + 1
            if field == "data.mixture.1.name"
            else line_of(text, new.strip().partition("\n")[0])
        )
        assert found.value.where.endswith(f":{line}")


names = st.sampled_from(["a", "b", "c"])
phases = st.builds(
    Phase,
    names,
    st.sampled_from(["", "x.jsonl"]),
    st.sampled_from([{}, {"phase": "a"}, {"phase": []}]),
    st.sampled_from([None, 0.5, 1.0]),
    st.sampled_from([0.0, 0.1]),
)
parts = st.builds(MixturePart, names, st.just("x"), st.sampled_from([None, 1.0]), st.sampled_from([None, 5]))


@given(st.sampled_from(["", "rows.jsonl"]), st.lists(phases, max_size=3), st.lists(parts, max_size=3))
def test_settings_without_a_problem_have_one_reading(train: str, phases: list[Phase], parts: list[MixturePart]) -> None:
    data = DataSettings(train=train, phases=phases, mixture=parts)
    if find_problem(data) is not None:
        return
    own = [phase.train for phase in phases if phase.train]
    assert (bool(train), bool(parts), bool(own)).count(True) == 1
    assert data.sources
    assert not own or len(own) == len(phases)
    assert len({phase.name for phase in phases}) == len(phases)
    shares: list[Any] = [phase.share for phase in phases if phase.share is not None]
    assert not shares or sum(shares) == 1
