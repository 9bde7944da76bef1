"""A kind of cluster is one entry and one file: profile and cluster are found by it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import ray
from pydantic import Field

from orchestrator.errors import SpecError
from orchestrator.spec.clusters.kinds import CLUSTERS, ClusterKind
from orchestrator.spec.clusters.load import load_cluster
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.sweep import Resources
from orchestrator.tuning.clusters.cluster import make_cluster
from orchestrator.tuning.clusters.connect import connected
from orchestrator.tuning.clusters.existing import ExistingCluster
from orchestrator.tuning.clusters.local import LocalCluster


class QueueProfile(ClusterProfile):
    kind: str = "queue"
    partition: str = Field(min_length=1)


class QueueCluster:
    did: ClassVar[list[str]] = []

    def __init__(self, profile: QueueProfile) -> None:
        self._partition = profile.partition

    def check(self) -> None:
        self.did.append(f"check {self._partition}")

    def start(self) -> None:
        self.did.append(f"start {self._partition}")

    def stop(self) -> None:
        self.did.append(f"stop {self._partition}")


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    entry = ClusterKind("toy", f"{__name__}:QueueProfile", f"{__name__}:QueueCluster", "Asking for nodes ...")
    monkeypatch.setitem(CLUSTERS, "queue", entry)
    monkeypatch.setattr(QueueCluster, "did", [])
    return QueueCluster.did


def test_every_kind_has_its_cluster() -> None:
    assert isinstance(make_cluster(load_cluster("local")), LocalCluster)
    assert isinstance(make_cluster(load_cluster("existing")), ExistingCluster)


def test_a_kind_brings_its_own_fields(queue: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: queue\npartition: gpu\n")
    profile = load_cluster(str(file))
    assert isinstance(profile, QueueProfile)
    assert (profile.partition, profile.about.greeting) == ("gpu", "Asking for nodes ...")
    file.write_text("kind: queue\npartition: ''\n")
    with pytest.raises(SpecError, match=r"mine.yaml:2: partition"):
        load_cluster(str(file))
    file.write_text("kind: local\npartition: gpu\n")
    with pytest.raises(SpecError, match=r"mine.yaml:2: partition = 'gpu': this key is not known here"):
        load_cluster(str(file))


def test_a_sweep_starts_and_stops_it(queue: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    profile = QueueProfile(partition="gpu")
    make_cluster(profile).check()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 6.0})
    with connected(profile, Resources(cpu=2), 100) as capacity:
        assert capacity.slots == 3
        assert queue[-1] == "start gpu"
    assert queue == ["check gpu", "start gpu", "stop gpu"]
