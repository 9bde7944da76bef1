"""The fields that ask for an audit and for repeats: what they refuse, and that they are no part of the sweep's content."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.loading import load_sweep
from tests.worlds.sweep_files import SWEEP


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def test_both_are_off_by_default(file: Path) -> None:
    spec = load_sweep(file)
    assert spec.after_search == {
        "stopping": {"audit": 0.0},
        "winner": {"candidates": 3, "repeats": 0, "confidence": 0.95},
    }


@pytest.mark.parametrize(
    ("override", "field", "value", "rule"),
    [
        ("stopping.audit=1.5", "stopping.audit", 1.5, "less than or equal to 1"),
        ("stopping.audit=-0.1", "stopping.audit", -0.1, "greater than or equal to 0"),
        ("stopping.audit=often", "stopping.audit", "often", "number"),
        ("winner.repeats=1", "winner.repeats", 1, "one new seed tells no difference from noise"),
        ("winner.repeats=-2", "winner.repeats", -2, "greater than or equal to 0"),
        ("winner.candidates=0", "winner.candidates", 0, "greater than or equal to 1"),
        ("winner.confidence=0.5", "winner.confidence", 0.5, "greater than 0.5"),
        ("winner.confidence=1", "winner.confidence", 1, "less than 1"),
        ("winner.seeds=3", "winner.seeds", 3, "not known here"),
    ],
)
def test_wrong_values_are_refused(file: Path, override: str, field: str, value: Any, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep(file, [override])
    assert (caught.value.field, caught.value.value) == (field, value)
    assert rule in caught.value.rule


def test_they_are_no_part_of_the_content(file: Path) -> None:
    plain, asked = load_sweep(file), load_sweep(file, ["stopping.audit=0.5", "winner.repeats=3"])
    assert asked.content() == plain.content()
    assert asked.after_search != plain.after_search
