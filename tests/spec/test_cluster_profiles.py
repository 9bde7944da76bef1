"""Cluster profiles: the shipped ones load, --ray wins, mistakes name file and line."""

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.clusters.existing import ExistingProfile
from orchestrator.spec.clusters.load import load_cluster
from orchestrator.spec.clusters.local import LocalProfile
from tests.worlds.sweep_files import ROOT


@pytest.mark.parametrize(
    "file", sorted((ROOT / "clusters").rglob("*.yaml")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_shipped_profiles_load_by_name_and_by_file(file: Path) -> None:
    assert load_cluster(file.stem) == load_cluster(str(file))


def test_shipped_profiles_are_what_they_are_called() -> None:
    assert load_cluster("local").kind == "local"
    assert (load_cluster("existing").kind, load_cluster("existing").address) == ("existing", "auto")


def test_address_from_the_command_line_wins() -> None:
    assert load_cluster("local", "10.0.0.5:6379") == ExistingProfile(address="10.0.0.5:6379")


def test_own_local_profile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "local.yaml").write_text("kind: local\ncpus: 3\n")
    monkeypatch.chdir(tmp_path)
    assert load_cluster("local") == LocalProfile(cpus=3)


def test_local_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.spec.clusters.load.PROFILE_FOLDERS", (tmp_path,))
    assert load_cluster("local") == LocalProfile()


def test_unknown_profile_names_a_near_one() -> None:
    with pytest.raises(
        SpecError, match=r"cluster = 'exsting': there is no such cluster profile\. Did you mean 'existing'"
    ):
        load_cluster("exsting")


@pytest.mark.parametrize(
    ("text", "line", "field", "rule"),
    [
        ("kind: local\ncpu: 3\n", 2, "cpu", "not known here"),
        ("kind: local\ncpus: yes\n", 2, "cpus", "must be a number"),
        ("kind: local\ncpus: 0\n", 2, "cpus", "greater than or equal to 1"),
        ("# a\nkind: slurm\n", 2, "kind", "must be one of local, existing"),
        ("kind: local\n- 3\n", 2, "", "this is not YAML"),
    ],
)
def test_wrong_profile_names_file_and_line(tmp_path: Path, text: str, line: int, field: str, rule: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=rule) as caught:
        load_cluster(str(file))
    assert caught.value.where.startswith(f"{file}:{line}")
    assert caught.value.field == field


def test_existing_profile_needs_an_address(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: existing\n")
    with pytest.raises(SpecError, match=r"mine.yaml: an existing cluster needs an address. Give one, or use --ray"):
        load_cluster(str(file))
