"""Everything that can be checked before a sweep starts. Nothing is left behind when a check fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.api.plan.policy import check_forecast, own_rules
from orchestrator.errors import InputError, ModelError, SpecError, nearest
from orchestrator.progress import Say, silent
from orchestrator.spec.clusters.load import load_cluster
from orchestrator.spec.clusters.profile import ClusterProfile
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.spec.sweep_plan import SweepPlan, plan_sweep
from orchestrator.storage.sweep_folder import SweepFolder, check_storage
from orchestrator.tracking.trackers import check_tracker, tracker_kind
from orchestrator.training.setup.expected import expect_setup, missing_parts
from orchestrator.training.setup.inspect import SetupReport, inspect_setup
from orchestrator.tuning.clusters.cluster import make_cluster
from orchestrator.tuning.own_training.inspect_entrypoint import EntrypointReport, inspect_entrypoint


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
    spec: SweepSpec,
    *,
    ray_address: str | None = None,
    where: str = "sweep file",
    say: Say = silent,
    expected: bool = True,
) -> ValidationResult:
    """Check a sweep without training: model, tokenizer, template, data, evaluation sets, budget, storage, cluster, tracking.

    Args:
        spec: The sweep.
        ray_address: Ray address that overrides the cluster profile.
        where: Name of the sweep file for messages.
        say: Receives progress texts.
        expected: Whether ``data.expected`` may stand in for a model and data that are not here; a run needs both.

    Raises:
        InputError: The first thing that is wrong; nothing has been started, and nothing is left on disk.
    """
    profile = load_cluster(spec.cluster, ray_address)
    make_cluster(profile).check()
    check_storage(Path(spec.storage))
    _check_tracking(spec)
    check_forecast(spec)
    own_rules(spec)
    if spec.entrypoint is not None:
        report = inspect_entrypoint(spec.entrypoint, where)
        return ValidationResult(spec, None, plan_sweep(spec, None, where), profile, report)
    folder = SweepFolder(Path(spec.storage), spec.name)
    with _kept_only_if_good(folder.cache):
        say("Reading model and data ...")
        setup = _setup(spec, folder.cache, where, expected)
        _check_metrics(spec, setup, where)
        plan = plan_sweep(spec, setup.train.rows, where)
    return ValidationResult(spec, setup, plan, profile)


def _setup(spec: SweepSpec, cache: Path, where: str, expected: bool) -> SetupReport:
    """Read model and data, or describe them by what is expected where they are not here."""
    missing = missing_parts(spec.trial_setup) if spec.data.expected is not None else []
    if not missing:
        return inspect_setup(spec.trial_setup, cache)
    if expected:
        return expect_setup(spec.trial_setup, missing)
    told = "; ".join(f"{error.where}: {error.rule}" for error in missing)
    needed = [_mend(spec, error) for error in missing]
    raise InputError(
        where,
        "data.expected",
        rule=f"a run needs model and data, of which not all is here: {told}",
        mend=f"give what is missing: {', and '.join(dict.fromkeys(needed))}",
    )


def _mend(spec: SweepSpec, error: InputError) -> str:
    if isinstance(error, ModelError):
        return "--set model=FOLDER_OR_HUB_ID"
    if spec.data.train:
        return "--set data.train=FILE_OR_FOLDER"
    return f"the files that data.{'mixture' if spec.data.mixture else 'phases'} names, or names of your own there"


def _check_metrics(spec: SweepSpec, setup: SetupReport, where: str) -> None:
    """Raise where the sweep judges by a metric that the tasks of its lm_eval sets do not give."""
    known = {entry.name: entry.metrics for entry in setup.evaluation if entry.metrics}
    for metric in spec.judged_metrics:
        given = known.get(metric.partition("/")[0])
        if given is not None and metric not in given:
            raise SpecError(
                where,
                "objective",
                metric,
                "no task of this evaluation set gives this metric",
                nearest(metric, given) or f"it gives {', '.join(given)}",
            )


def _check_tracking(spec: SweepSpec) -> None:
    if spec.tracking.enabled and spec.tracking.tracker is not None:
        tracker_kind(spec.tracking.uri, spec.tracking.tracker)
    elif spec.tracking.enabled and spec.tracking.uri is not None:
        check_tracker(spec.tracking.uri)


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
