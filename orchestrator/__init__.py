"""Distributed experiment orchestrator on Ray for supervised fine-tuning of small language models."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = [
    "export_recorded",
    "fit_forecast_files",
    "load_sweep",
    "plan_trials",
    "replay_recorded",
    "run_sweep",
    "validate_sweep",
]


def __getattr__(name: str) -> Any:
    """Import the interface at first use, so that ``import orchestrator`` stays instant and light."""
    if name in __all__:
        from orchestrator import api

        return getattr(api, name)
    raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
