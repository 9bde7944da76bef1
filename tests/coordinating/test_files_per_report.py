"""A milestone report takes few files to read through."""

from statistics import median

from tests.benchmarks.files_per_report import measure

FILES_LIMIT = 14


def test_a_report_crosses_few_files_of_the_package() -> None:
    crossed = measure()
    assert median(len(files) for files in crossed) <= FILES_LIMIT
    assert all("coordinating/coordinator.py" in files for files in crossed)
