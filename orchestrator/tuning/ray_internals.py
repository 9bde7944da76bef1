"""The four places where we reach past Ray Tune's public interface, each with its reason and a test.

Written against Ray 2.60; `tests/tuning/test_ray_internals.py` fails when an upgrade changes what they rely on.
"""

from __future__ import annotations

from typing import Any

from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError


def treat_lost_results_as_lost_actors() -> None:
    """Make every Ray error of a trial a failure of that trial.

    Tune's actor manager knows actor and task errors only; a kill by Ray's memory monitor or an object lost
    with its node is neither, and would end the whole sweep with a RuntimeError out of ``fit()``.
    """
    original = RayActorManager._actor_task_failed
    if getattr(original, "_orchestrator", False):
        return

    def tolerant(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        original(self, tracked_actor_task, exception)

    tolerant._orchestrator = True  # type: ignore[attr-defined]
    RayActorManager._actor_task_failed = tolerant


def keep_workers_warm(controller: Any, resources: Any, workers: int) -> None:
    """Let Tune keep up to ``workers`` idle actors for the next trial.

    Tune caches an actor only while another trial is staged. A rung often pauses all running trials before
    the next one is chosen; each worker would then be thrown away and started anew, for seconds apiece.
    """
    cache = _controller(controller)._actor_cache
    cache.increase_max(resources, by=workers)


def set_trial_config(trial: Any, key: str, value: Any) -> None:
    """Change one small value of a paused trial's config; Tune hands the config to the actor when it resumes."""
    trial.config[key] = value


def use_auth_token_if_present() -> None:
    """Send Ray's token from now on, if this user has one and RAY_AUTH_MODE does not say otherwise.

    ``ray start`` asks for a token wherever it finds one, and any local Ray leaves one in the home folder; but Ray
    joins an explicit address without it, so as not to hand it to a stranger. Call this for clusters of this
    machine only. A cluster that asks for no token ignores one.
    """
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _controller(wrapped: Any) -> Any:
    # The wrapper warns about every attribute it does not know; the controller behind it does not.
    return vars(wrapped).get("_tune_controller", wrapped)
