"""Distributed experiment orchestrator on Ray for supervised fine-tuning of small language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import (
        ExtendRequest,
        clone_trial,
        compare_sweeps,
        evaluate_sweep,
        examine_machine,
        export_recorded,
        export_trial,
        extend_sweep,
        find_sweep,
        fit_forecast_files,
        list_methods,
        load_sweep,
        open_ui,
        plan_trials,
        read_sweep,
        recommend_search_space,
        replay_recorded,
        reproduce,
        rerun_trial,
        resume_trial,
        run_sweep,
        stop_trial,
        storage_status,
        sweep_status,
        tracked_sweep,
        tracked_sweeps,
        validate_sweep,
        watch_sweep,
        watch_tracked,
        write_recommendation,
        write_report,
    )

__version__ = "0.1.0"
__all__ = [
    "ExtendRequest",
    "clone_trial",
    "compare_sweeps",
    "evaluate_sweep",
    "examine_machine",
    "export_recorded",
    "export_trial",
    "extend_sweep",
    "find_sweep",
    "fit_forecast_files",
    "list_methods",
    "load_sweep",
    "open_ui",
    "plan_trials",
    "read_sweep",
    "recommend_search_space",
    "replay_recorded",
    "reproduce",
    "rerun_trial",
    "resume_trial",
    "run_sweep",
    "stop_trial",
    "storage_status",
    "sweep_status",
    "tracked_sweep",
    "tracked_sweeps",
    "validate_sweep",
    "watch_sweep",
    "watch_tracked",
    "write_recommendation",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import the interface at first use, so that ``import orchestrator`` stays instant and light."""
    if name in __all__:
        from orchestrator import api

        return getattr(api, name)
    raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
