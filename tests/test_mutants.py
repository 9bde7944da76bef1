"""The faults that `tests.mutants` tries can still be put in."""

from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOMS, Mutant, place_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_has_one_place_and_tests(mutant: Mutant) -> None:
    assert place_of(mutant, ROOT)
    assert mutant.text != mutant.fault
    assert all((ROOT / place).exists() for place in ROOMS[mutant.room])
