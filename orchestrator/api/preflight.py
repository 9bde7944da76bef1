"""Everything that can be checked before a sweep starts. Nothing is left behind when a check fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.api.policy import check_forecast
from orchestrator.spec.cluster import ClusterProfile, load_cluster
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.training.inspect_setup import SetupReport, inspect_setup
from orchestrator.tuning.cluster import check_address
from orchestrator.tuning.layout import SweepFolder, check_storage
from orchestrator.tuning.own_training.inspect_entrypoint import EntrypointReport, inspect_entrypoint
from orchestrator.tuning.planning import SweepPlan, plan_sweep

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class ValidationResult:
    """A sweep that passed all checks: resolved values, what it trains, and the shared numbers.

    ``setup`` says what model and data are, ``entrypoint`` where the user's own code is; one of them is None.
    """

    spec: SweepSpec
    setup: SetupReport | None
    plan: SweepPlan
    cluster: ClusterProfile
    entrypoint: EntrypointReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "valid": True,
            "sweep": dict(resolved(self.spec)),
            "digest": self.spec.digest,
            "setup": None if self.setup is None else asdict(self.setup),
            "entrypoint": None if self.entrypoint is None else asdict(self.entrypoint),
            "plan": asdict(self.plan),
            "cluster": self.cluster.model_dump(mode="json"),
        }


def validate_sweep(
    spec: SweepSpec, *, ray_address: str | None = None, where: str = "sweep file", say: Say = silent
) -> ValidationResult:
    """Check a sweep without training: model, tokenizer, template, data, evaluation sets, budget, storage, cluster, tracking.

    Args:
        spec: The sweep.
        ray_address: Ray address that overrides the cluster profile.
        where: Name of the sweep file for messages.
        say: Receives progress texts.

    Raises:
        InputError: The first thing that is wrong; nothing has been started, and nothing is left on disk.
    """
    profile = load_cluster(spec.cluster, ray_address)
    if profile.kind == "existing" and profile.address is not None:
        check_address(profile.address)
    check_storage(Path(spec.storage))
    _check_tracking(spec)
    check_forecast(spec)
    if spec.entrypoint is not None:
        report = inspect_entrypoint(spec.entrypoint, where)
        return ValidationResult(spec, None, plan_sweep(spec, None, where), profile, report)
    folder = SweepFolder(Path(spec.storage), spec.name)
    with _kept_only_if_good(folder.cache):
        say("Reading model and data ...")
        setup = inspect_setup(spec.trial_setup, folder.cache)
        plan = plan_sweep(spec, setup.train.rows, where)
    return ValidationResult(spec, setup, plan, profile)


def _check_tracking(spec: SweepSpec) -> None:
    if spec.tracking.enabled and spec.tracking.uri is not None:
        from orchestrator.tracking.opening import check_tracking_uri

        check_tracking_uri(spec.tracking.uri)


@contextmanager
def _kept_only_if_good(cache: Path) -> Iterator[None]:
    """Remove the cache folder, and the parents made for it, when the block fails and they were not there before."""
    made = [place for place in (cache, *cache.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        if made:
            shutil.rmtree(made[-1], ignore_errors=True)
        raise
