"""Checkpoints of the user's own code: whole or not there, and never past a milestone that was not reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.integrations.checkpoints import SEAL, Sealed, read_seal, seal, sealed, usable, written

LEVELS = (16, 32, 64)


def save(root: Path, samples: int, text: str = "weights") -> Path:
    with written(root, Sealed(root / f"samples-{samples}", samples, 1.0)) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "model.txt").write_text(text)
    return root / f"samples-{samples}"


def test_a_checkpoint_is_read_back_with_its_position(tmp_path: Path) -> None:
    place = save(tmp_path, 16)
    assert (place / "deep" / "model.txt").read_text() == "weights"
    assert [each.samples_seen for each in sealed(tmp_path)] == [16]
    assert json.loads((place / SEAL).read_text())["files"] == {"deep/model.txt": 7}


def test_a_failed_save_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 16)

    def half_way() -> None:
        with written(tmp_path, Sealed(tmp_path / "samples-32", 32, 1.0)) as folder:
            (folder / "half").write_text("...")
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["samples-16"]


def test_saving_again_replaces(tmp_path: Path) -> None:
    save(tmp_path, 16, "old")
    place = save(tmp_path, 16, "new")
    assert (place / "deep" / "model.txt").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for samples in (8, 16, 24, 32):
        save(tmp_path, samples)
    assert [each.samples_seen for each in sealed(tmp_path)] == [24, 32]


@pytest.mark.parametrize("damage", ["cut", "missing", "no seal", "no json"])
def test_an_incomplete_checkpoint_does_not_count(tmp_path: Path, damage: str) -> None:
    place = save(tmp_path, 16)
    file = place / "deep" / "model.txt"
    if damage == "cut":
        file.write_text("weigh")
    elif damage == "missing":
        file.unlink()
    elif damage == "no seal":
        (place / SEAL).unlink()
    else:
        (place / SEAL).write_text("{")
    assert read_seal(place) is None
    assert usable(tmp_path, LEVELS, 1, 16) is None


@pytest.mark.parametrize(
    ("known", "known_samples", "saved", "found"),
    [
        (0, 0, [8], 8),  # between two milestones
        (0, 0, [8, 16], 8),  # the milestone at 16 was saved, but killed before it was reported
        (1, 16, [8, 16], 16),
        (1, 16, [8, 16, 24], 24),
        (1, 16, [32], None),
        (2, 40, [16, 40], 40),  # a large step passed 32
        (3, 64, [32, 64], 64),
    ],
)
def test_a_trial_goes_on_from_the_newest_that_is_not_past_an_unreported_milestone(
    tmp_path: Path, known: int, known_samples: int, saved: list[int], found: int | None
) -> None:
    for samples in saved:
        (tmp_path / f"samples-{samples}").mkdir()
        seal(tmp_path / f"samples-{samples}", Sealed(tmp_path / f"samples-{samples}", samples, 1.0))
    best = usable(tmp_path, LEVELS, known, known_samples)
    assert (None if best is None else best.samples_seen) == found
