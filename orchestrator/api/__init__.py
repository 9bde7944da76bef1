"""The Python interface: what the command line does, with typed results.

>>> from orchestrator import load_sweep, run_sweep
>>> result = run_sweep(load_sweep("search_spaces/quickstart.yaml"))  # doctest: +SKIP
>>> result.winner.name, result.winner.scores  # doctest: +SKIP

Every name is imported at its first use: reading a sweep back needs neither torch nor Ray, and takes a fraction
of the seconds that they take to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api.compare import Comparison, compare_sweeps
    from orchestrator.api.control import clone_trial, resume_trial, stop_trial
    from orchestrator.api.doctor import Diagnosis, Finding, examine_machine
    from orchestrator.api.evaluate import EvaluationResult, evaluate_sweep
    from orchestrator.api.evaluate_models import ScoredModel
    from orchestrator.api.export import ExportResult, export_trial
    from orchestrator.api.extend import extend_sweep
    from orchestrator.api.extend_request import ExtendRequest
    from orchestrator.api.methods import list_methods
    from orchestrator.api.places import find_trial_sweep
    from orchestrator.api.plan import PlanResult, TrialPlan, plan_trials
    from orchestrator.api.preflight import ValidationResult, validate_sweep
    from orchestrator.api.recommend import recommend_search_space, write_recommendation
    from orchestrator.api.record_export import export_recorded, past_recorded
    from orchestrator.api.recorded_runs import tracked_recorded
    from orchestrator.api.report import write_report
    from orchestrator.api.reproduction import Reproduction, reproduce
    from orchestrator.api.rerun import RerunResult, rerun_trial
    from orchestrator.api.run import run_sweep
    from orchestrator.api.status import storage_status, sweep_status
    from orchestrator.api.sweep_history import read_sweep
    from orchestrator.api.tracked_status import tracked_sweep, tracked_sweeps
    from orchestrator.api.ui import SweepUi, open_ui
    from orchestrator.api.watch import watch_sweep, watch_tracked
    from orchestrator.simulation.replay_files import fit_forecast_files, replay_recorded, score_forecast
    from orchestrator.spec.catalogue import MethodInfo, method_info
    from orchestrator.spec.loading import load_sweep
    from orchestrator.tuning.layout import find_sweep

__all__ = [
    "Comparison",
    "Diagnosis",
    "EvaluationResult",
    "ExportResult",
    "ExtendRequest",
    "Finding",
    "MethodInfo",
    "PlanResult",
    "Reproduction",
    "RerunResult",
    "ScoredModel",
    "SweepUi",
    "TrialPlan",
    "ValidationResult",
    "clone_trial",
    "compare_sweeps",
    "evaluate_sweep",
    "examine_machine",
    "export_recorded",
    "export_trial",
    "extend_sweep",
    "find_sweep",
    "find_trial_sweep",
    "fit_forecast_files",
    "list_methods",
    "load_sweep",
    "method_info",
    "open_ui",
    "past_recorded",
    "plan_trials",
    "read_sweep",
    "recommend_search_space",
    "replay_recorded",
    "reproduce",
    "rerun_trial",
    "resume_trial",
    "run_sweep",
    "score_forecast",
    "stop_trial",
    "storage_status",
    "sweep_status",
    "tracked_recorded",
    "tracked_sweep",
    "tracked_sweeps",
    "validate_sweep",
    "watch_sweep",
    "watch_tracked",
    "write_recommendation",
    "write_report",
]

_HOMES = {
    "Comparison": "orchestrator.api.compare",
    "Diagnosis": "orchestrator.api.doctor",
    "EvaluationResult": "orchestrator.api.evaluate",
    "ExportResult": "orchestrator.api.export",
    "ExtendRequest": "orchestrator.api.extend_request",
    "Finding": "orchestrator.api.doctor",
    "MethodInfo": "orchestrator.spec.catalogue",
    "PlanResult": "orchestrator.api.plan",
    "Reproduction": "orchestrator.api.reproduction",
    "RerunResult": "orchestrator.api.rerun",
    "ScoredModel": "orchestrator.api.evaluate_models",
    "SweepUi": "orchestrator.api.ui",
    "TrialPlan": "orchestrator.api.plan",
    "ValidationResult": "orchestrator.api.preflight",
    "clone_trial": "orchestrator.api.control",
    "compare_sweeps": "orchestrator.api.compare",
    "evaluate_sweep": "orchestrator.api.evaluate",
    "examine_machine": "orchestrator.api.doctor",
    "export_recorded": "orchestrator.api.record_export",
    "export_trial": "orchestrator.api.export",
    "extend_sweep": "orchestrator.api.extend",
    "find_sweep": "orchestrator.tuning.layout",
    "find_trial_sweep": "orchestrator.api.places",
    "fit_forecast_files": "orchestrator.simulation.replay_files",
    "list_methods": "orchestrator.api.methods",
    "load_sweep": "orchestrator.spec.loading",
    "method_info": "orchestrator.spec.catalogue",
    "open_ui": "orchestrator.api.ui",
    "past_recorded": "orchestrator.api.record_export",
    "tracked_recorded": "orchestrator.api.recorded_runs",
    "plan_trials": "orchestrator.api.plan",
    "read_sweep": "orchestrator.api.sweep_history",
    "recommend_search_space": "orchestrator.api.recommend",
    "replay_recorded": "orchestrator.simulation.replay_files",
    "reproduce": "orchestrator.api.reproduction",
    "rerun_trial": "orchestrator.api.rerun",
    "resume_trial": "orchestrator.api.control",
    "run_sweep": "orchestrator.api.run",
    "score_forecast": "orchestrator.simulation.replay_files",
    "stop_trial": "orchestrator.api.control",
    "storage_status": "orchestrator.api.status",
    "sweep_status": "orchestrator.api.status",
    "tracked_sweep": "orchestrator.api.tracked_status",
    "tracked_sweeps": "orchestrator.api.tracked_status",
    "validate_sweep": "orchestrator.api.preflight",
    "watch_sweep": "orchestrator.api.watch",
    "watch_tracked": "orchestrator.api.watch",
    "write_recommendation": "orchestrator.api.recommend",
    "write_report": "orchestrator.api.report",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it stands in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator.api' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
