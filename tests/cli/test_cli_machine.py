"""methods and doctor: what there is, and what is wrong with this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from orchestrator.api import examine_machine, list_methods
from orchestrator.api.doctor import Diagnosis, Finding
from orchestrator.api.doctor.packages import check_packages, check_python, judge_packages
from orchestrator.api.doctor.probes import finish_probe, start_probe
from orchestrator.api.doctor.system import (
    check_disk,
    check_memory,
    check_network,
    check_ports,
    check_temporary,
    check_threads,
    memory_limit,
)
from orchestrator.errors import SpecError
from orchestrator.spec.loading import parse_sweep
from orchestrator.spec.methods.catalogue import METHODS
from orchestrator.spec.methods.entry import FAMILIES

Orchestrate = Callable[..., Any]


def test_methods_lists_all_by_family(orchestrate: Orchestrate) -> None:
    answer = orchestrate("methods")
    assert answer.code == 0
    assert all(f"  {name} " in answer.out for name in METHODS)
    assert f"{len(METHODS)} methods" in answer.out
    values = json.loads(orchestrate("methods", "--json").out)
    assert [method["name"] for method in values["methods"]] == list(METHODS)
    assert "options" not in values["methods"][0]


def test_methods_of_one_family(orchestrate: Orchestrate) -> None:
    for family in FAMILIES:
        names = {info.name for info in list_methods(family)}
        assert names == {info.name for info in METHODS.values() if info.family == family}
    answer = orchestrate("methods", "--family", "low-rank")
    assert (answer.code, "Did you mean 'low_rank'?" in answer.err) == (2, True)
    with pytest.raises(SpecError, match="no family"):
        list_methods("x")


@pytest.mark.parametrize("name", METHODS)
def test_one_method_shows_options_and_an_example_that_is_valid(orchestrate: Orchestrate, name: str) -> None:
    import yaml

    answer = orchestrate("methods", name)
    assert answer.code == 0
    assert all(option in answer.out for option in METHODS[name].options)
    example = yaml.safe_load(answer.out.split("In a sweep file:\n")[1])
    space = {**example["search_space"], "effective_batch_size": 8}
    spec = parse_sweep({"name": "x", "model": "m", "data": {"train": "d"}, "search_space": space})
    assert list(spec.search_space.method) == [name]
    assert json.loads(orchestrate("methods", name, "--json").out)["name"] == name


def test_unknown_method_names_the_nearest(orchestrate: Orchestrate) -> None:
    answer = orchestrate("methods", "loar")
    assert (answer.code, answer.err.endswith("Did you mean 'lora'?\n")) == (2, True)


# -- doctor --------------------------------------------------------------------------------------------


def test_packages_are_judged_against_their_requirements() -> None:
    assert check_python().status == "ok"
    assert [finding.status for finding in check_packages()] == ["ok"]
    wanted = [Requirement("numpy>=1"), Requirement("rich<2"), Requirement("no-such-package>=1")]
    old, missing = judge_packages(wanted)
    assert (old.status, missing.status) == ("fail", "fail")
    assert "<2 was tested" in old.text
    assert "no-such-package is not installed" in missing.text
    assert "pip install" in old.mend


def test_disk_that_cannot_be_used_fails(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "new" / "runs")[0].status in ("ok", "warn")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    (finding,) = check_disk(tmp_path / "file")
    assert (finding.status, "is a file, not a folder" in finding.text) == ("fail", True)
    assert finding.mend


def test_memory_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert check_memory(2**60).text == check_memory().text or memory_limit() is not None
    little = check_memory(1 * 2**30)
    assert (little.status, "limit of this container" in little.text) == ("warn", True)
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert memory_limit(tmp_path) == 2**30
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit(tmp_path) is None


def test_threads_network_and_ports_are_read() -> None:
    assert check_threads({}).check == "threads"
    many = check_threads({"OMP_NUM_THREADS": str(10 * (os.cpu_count() or 1))})
    assert (many.status, "OMP_NUM_THREADS" in many.mend) == ("warn", True)
    assert check_network({"http_proxy": "http://proxy:3128"}).status == "warn"
    spared = check_network({"http_proxy": "http://proxy:3128", "no_proxy": "localhost,127.0.0.1"})
    assert spared.text == check_network({}).text
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"in use: {port} (mine)" in check_ports({port: "mine"}).text


def test_temporary_folder_that_does_not_exist_fails(tmp_path: Path) -> None:
    assert check_temporary(tmp_path / "none").status == "fail"


def test_probe_that_crashes_or_hangs_is_a_finding() -> None:
    crash = subprocess.Popen(
        [sys.executable, "-c", "import os; os.abort()"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    (finding,) = finish_probe("torch", crash, 60)
    assert (finding.check, finding.status) == ("torch", "fail")
    hang = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    (finding,) = finish_probe("ray", hang, 0.2)
    assert (finding.status, "did not answer within" in finding.text) == ("fail", True)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("ray", {"address": "127.0.0.1:9"}, "nothing answers at this address"),
        ("mlflow", {"uri": "http://127.0.0.1:9"}, "must answer /health"),
        ("mlflow", {"uri": "file:///x"}, "a tracking URI starts with one of"),
    ],
)
def test_probe_of_what_is_not_there_says_what_to_do(name: str, options: dict[str, str], said: str) -> None:
    (finding,) = finish_probe(name, start_probe(name, **options), 120)
    assert finding.status == "fail", finding
    assert said in finding.text
    assert finding.mend


@pytest.mark.ray
def test_doctor_passes_here_and_leaves_nothing(orchestrate: Orchestrate, tmp_path: Path) -> None:
    answer = orchestrate("doctor", "--storage", tmp_path / "runs", "--json")
    values = json.loads(answer.out)
    assert answer.code == 0, values
    assert values["healthy"] is True
    checks = [finding["check"] for finding in values["findings"]]
    for check in (
        "python",
        "packages",
        "disk",
        "memory",
        "threads",
        "limits",
        "ports",
        "torch",
        "gpu",
        "ray",
        "mlflow",
    ):
        assert check in checks
    assert not (tmp_path / "runs").exists()


def test_doctor_exits_1_when_something_fails(orchestrate: Orchestrate, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = orchestrate("doctor", "--storage", tmp_path / "file", "--ray", "127.0.0.1:9")
    assert answer.code == 1
    assert "a sweep would not run here" in answer.out
    assert "Check that the head node is up" in answer.out
    diagnosis = Diagnosis((Finding("a", "warn", "text"),), 1.0)
    assert diagnosis.healthy
    assert not examine_machine(tmp_path / "file", "127.0.0.1:9").healthy
