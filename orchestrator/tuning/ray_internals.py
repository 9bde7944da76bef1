"""The five places where we reach past Ray's public interface, each with its reason and a test.

`check_ray` tells before anything starts when the installed Ray is not one of those that were tested, or has changed what
is listed in `INTERNALS`; `tests/tuning/test_ray_internals.py` fails when an upgrade changes how they behave.
"""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import ray
from packaging.specifiers import SpecifierSet
from ray.exceptions import RayActorError, RayError, RayTaskError

from orchestrator.errors import ClusterError

TESTED = ">=2.59,<2.61"
"""The versions of Ray that the tests ran with; as in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Internal:
    """A function or method of Ray that is not public.

    Attributes:
        module: Module that holds it.
        name: Its name there, dotted for a method.
        parameters: Names of the parameters that it must take, in order.
    """

    module: str
    name: str
    parameters: tuple[str, ...]

    def get(self) -> Callable[..., object]:
        """Return it.

        Raises:
            ClusterError: If the installed Ray has no such thing, or one that takes something else.
        """
        try:
            found: Callable[..., object] = operator.attrgetter(self.name)(importlib.import_module(self.module))
            taken = tuple(inspect.signature(found).parameters)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise unknown_ray(f"it has no {self.module}.{self.name} ({error})") from error
        if taken != self.parameters:
            raise unknown_ray(f"{self.module}.{self.name} takes ({', '.join(taken)}) there")
        return found


ACTOR_TASK_FAILED = Internal(
    "ray.air.execution._internal.actor_manager",
    "RayActorManager._actor_task_failed",
    ("self", "tracked_actor_task", "exception"),
)
KEEP_MORE_ACTORS = Internal("ray.tune.utils.object_cache", "_ObjectCache.increase_max", ("self", "key", "by"))
SEND_TOKEN = Internal(
    "ray._private.authentication.authentication_token_setup",
    "maybe_enable_token_auth_if_token_available",
    ("warn_if_disabled",),
)
FIND_RUNNING = Internal("ray._private.services", "canonicalize_bootstrap_address", ("addr", "temp_dir"))

INTERNALS = (ACTOR_TASK_FAILED, KEEP_MORE_ACTORS, SEND_TOKEN, FIND_RUNNING)


def unknown_ray(what: str) -> ClusterError:
    """Return the error of a Ray that this package was not written for."""
    return ClusterError(
        "ray",
        value=ray.__version__,
        rule=f"this Ray is not one that was tested ({TESTED}), and sweeps rely on parts of Ray Tune that may change: {what}",
        mend=f"install one that was: pip install 'ray[tune,train]{TESTED}'",
    )


def check_ray() -> None:
    """Raise unless the installed Ray is one of those that were tested and has all of `INTERNALS`.

    Raises:
        ClusterError: With the version that is installed and those that were tested.
    """
    if not SpecifierSet(TESTED).contains(ray.__version__, prereleases=True):
        raise unknown_ray("its version is outside")
    for internal in INTERNALS:
        internal.get()


def treat_lost_results_as_lost_actors() -> None:
    """Make every Ray error of a trial a failure of that trial.

    Tune's actor manager knows actor and task errors only; a kill by Ray's memory monitor or an object lost
    with its node is neither, and would end the whole sweep with a RuntimeError out of ``fit()``.
    """
    original = ACTOR_TASK_FAILED.get()
    if getattr(original, "_orchestrator", False):
        return

    def tolerant(self: object, tracked_actor_task: object, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        original(self, tracked_actor_task, exception)

    tolerant._orchestrator = True  # type: ignore[attr-defined]
    owner, method = ACTOR_TASK_FAILED.name.split(".")
    setattr(getattr(importlib.import_module(ACTOR_TASK_FAILED.module), owner), method, tolerant)


def keep_workers_warm(controller: object, resources: object, workers: int) -> None:
    """Let Tune keep up to ``workers`` idle actors for the next trial.

    Tune caches an actor only while another trial is staged. A rung often pauses all running trials before
    the next one is chosen; each worker would then be thrown away and started anew, for seconds apiece.

    Raises:
        ClusterError: If this Ray keeps its actors elsewhere, or does not keep more of them.
    """
    cache = getattr(_controller(controller), "_actor_cache", None)
    if cache is None:
        raise unknown_ray("its controller has no _actor_cache")
    before: int = cache.total_max_objects
    cache.increase_max(resources, by=workers)
    if cache.total_max_objects != before + workers:
        raise unknown_ray("its cache of actors does not grow when asked")


class HasConfig(Protocol):
    """What of Tune's trial is needed to change its config."""

    config: dict[str, object]


def set_trial_config(trial: HasConfig, key: str, value: object) -> None:
    """Change one small value of a paused trial's config; Tune hands the config to the actor when it resumes.

    Raises:
        ClusterError: If this Ray hands out copies of the config, so that the trial would go on with the old one.
    """
    trial.config[key] = value
    if trial.config[key] != value:
        raise unknown_ray("a trial's config cannot be changed")


def use_auth_token_if_present() -> None:
    """Send Ray's token from now on, if this user has one and RAY_AUTH_MODE does not say otherwise.

    ``ray start`` asks for a token wherever it finds one, and any local Ray leaves one in the home folder; but Ray
    joins an explicit address without it, so as not to hand it to a stranger. Call this for clusters of this
    machine only. A cluster that asks for no token ignores one.
    """
    SEND_TOKEN.get()(warn_if_disabled=False)


def running_cluster() -> str | None:
    """Return the address of the Ray that runs on this machine, None where none does."""
    found = FIND_RUNNING.get()("auto")
    return None if found is None else str(found)


def _controller(wrapped: object) -> object:
    # The wrapper warns about every attribute it does not know; the controller behind it does not.
    return vars(wrapped).get("_tune_controller", wrapped)
