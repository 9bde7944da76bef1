"""A driver is known to be alive, ended or killed by the storage alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.storage.driver_presence import SILENT_SECONDS, DriverSign, check_not_driven, driving, read_driver
from orchestrator.storage.journal import Journal, claim_file
from orchestrator.storage.sweep_folder import SweepFolder

DRIVER = """
import sys, time
from pathlib import Path
from orchestrator.storage.journal import Journal
from orchestrator.storage.driver_presence import driving
journal = Journal(Path(sys.argv[1]))
with driving(journal.path, journal.epoch, lambda moment: None):
    print("driving", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path, "sweep")


def start_driver(folder: SweepFolder, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(folder.journal), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "driving\n"
    return process


def write_sign(folder: SweepFolder, sign: DriverSign, epoch: int = 1) -> None:
    file = claim_file(folder.journal, epoch)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(sign)))


ELSEWHERE = DriverSign("other", "another machine", 1, 0.0, 0.0)


def test_driver_of_another_process_is_alive_until_it_is_killed(folder: SweepFolder) -> None:
    process = start_driver(folder, 60)
    sign = read_driver(folder)
    assert sign is not None
    assert (sign.pid, sign.alive) == (process.pid, True)
    with pytest.raises(StorageError, match=f"is being run by process {process.pid} on ") as caught:
        check_not_driven(folder, "sweep.yaml")
    assert "orchestrate watch" in caught.value.mend
    process.send_signal(signal.SIGKILL)
    # Not reaped yet: its number is still taken, by a dead process.
    while process.poll() is None and sign.alive:
        time.sleep(0.01)
    assert not sign.alive
    process.wait()
    check_not_driven(folder, "sweep.yaml")


def test_driver_that_ended_says_so(folder: SweepFolder) -> None:
    process = start_driver(folder, 0)
    process.wait(timeout=60)
    sign = read_driver(folder)
    assert sign is not None
    assert (sign.ended, sign.alive) == (True, False)


def test_ended_also_after_an_error_and_minutes_are_told(folder: SweepFolder) -> None:
    journal = Journal(folder.journal)
    told: list[float] = []

    def fail() -> None:
        sign = read_driver(folder)
        assert sign is not None
        assert sign.alive
        raise RuntimeError

    with pytest.raises(RuntimeError), driving(journal.path, journal.epoch, told.append):
        fail()
    sign = read_driver(folder)
    assert sign is not None
    assert not sign.alive
    assert told == pytest.approx([time.time()], abs=60)


def test_number_that_another_process_bears_now_is_not_the_driver(folder: SweepFolder) -> None:
    journal = Journal(folder.journal)
    with driving(journal.path, journal.epoch, lambda moment: None):
        sign = read_driver(folder)
    assert sign is not None
    assert replace(sign, ended=False).alive
    assert not replace(sign, ended=False, started=sign.started - 100).alive


@pytest.mark.parametrize(("age", "alive"), [(0.0, True), (SILENT_SECONDS / 2, True), (2 * SILENT_SECONDS, False)])
def test_driver_elsewhere_is_judged_by_the_age_of_its_sign(folder: SweepFolder, age: float, alive: bool) -> None:
    write_sign(folder, replace(ELSEWHERE, beat=time.time() - age))
    sign = read_driver(folder)
    assert sign is not None
    assert sign.alive is alive


def test_latest_claim_counts_and_what_says_nothing_is_nobody(folder: SweepFolder) -> None:
    assert read_driver(folder) is None
    write_sign(folder, replace(ELSEWHERE, host="first"))
    write_sign(folder, replace(ELSEWHERE, host="second"), epoch=2)
    sign = read_driver(folder)
    assert sign is not None
    assert sign.host == "second"
    for text in ("", "{", "{}", "[]"):
        claim_file(folder.journal, 3).write_text(text)
        assert read_driver(folder) is None
        check_not_driven(folder, "sweep.yaml")
