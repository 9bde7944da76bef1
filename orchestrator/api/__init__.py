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
    from orchestrator.api.compare.compare import Comparison, compare_sweeps
    from orchestrator.api.control.control import clone_trial, resume_trial, stop_trial
    from orchestrator.api.doctor import Diagnosis, Finding, examine_machine
    from orchestrator.api.evaluate.evaluate import EvaluationResult, evaluate_sweep
    from orchestrator.api.evaluate.models import ScoredModel
    from orchestrator.api.export.export import ExportResult, export_trial
    from orchestrator.api.extend.extend import extend_sweep
    from orchestrator.api.extend.request import ExtendRequest
    from orchestrator.api.follow.status import storage_status, sweep_status
    from orchestrator.api.follow.tracked_status import tracked_sweep, tracked_sweeps
    from orchestrator.api.follow.ui import SweepUi, open_ui
    from orchestrator.api.follow.watch import watch_sweep, watch_tracked
    from orchestrator.api.methods.methods import list_methods
    from orchestrator.api.plan.plan import PlanResult, TrialPlan, plan_trials
    from orchestrator.api.plan.preflight import ValidationResult, validate_sweep
    from orchestrator.api.recommend.recommend import recommend_search_space, write_recommendation
    from orchestrator.api.recorded.from_mlflow import tracked_recorded
    from orchestrator.api.recorded.record_export import export_recorded, past_recorded
    from orchestrator.api.report.report import write_report
    from orchestrator.api.reproduction.reproduction import Reproduction, reproduce
    from orchestrator.api.rerun.rerun import RerunResult, rerun_trial
    from orchestrator.api.run.run import run_sweep
    from orchestrator.history.find_trial import find_trial_sweep
    from orchestrator.history.read_sweep import read_sweep
    from orchestrator.simulation.replay_files import fit_forecast_files, replay_recorded, score_forecast
    from orchestrator.spec.loading import load_sweep
    from orchestrator.spec.methods.catalogue import MethodInfo, method_info
    from orchestrator.storage.sweep_folder import find_sweep

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
    "Comparison": "orchestrator.api.compare.compare",
    "Diagnosis": "orchestrator.api.doctor",
    "EvaluationResult": "orchestrator.api.evaluate.evaluate",
    "ExportResult": "orchestrator.api.export.export",
    "ExtendRequest": "orchestrator.api.extend.request",
    "Finding": "orchestrator.api.doctor",
    "MethodInfo": "orchestrator.spec.methods.catalogue",
    "PlanResult": "orchestrator.api.plan.plan",
    "Reproduction": "orchestrator.api.reproduction.reproduction",
    "RerunResult": "orchestrator.api.rerun.rerun",
    "ScoredModel": "orchestrator.api.evaluate.models",
    "SweepUi": "orchestrator.api.follow.ui",
    "TrialPlan": "orchestrator.api.plan.plan",
    "ValidationResult": "orchestrator.api.plan.preflight",
    "clone_trial": "orchestrator.api.control.control",
    "compare_sweeps": "orchestrator.api.compare.compare",
    "evaluate_sweep": "orchestrator.api.evaluate.evaluate",
    "examine_machine": "orchestrator.api.doctor",
    "export_recorded": "orchestrator.api.recorded.record_export",
    "export_trial": "orchestrator.api.export.export",
    "extend_sweep": "orchestrator.api.extend.extend",
    "find_sweep": "orchestrator.storage.sweep_folder",
    "find_trial_sweep": "orchestrator.history.find_trial",
    "fit_forecast_files": "orchestrator.simulation.replay_files",
    "list_methods": "orchestrator.api.methods.methods",
    "load_sweep": "orchestrator.spec.loading",
    "method_info": "orchestrator.spec.methods.catalogue",
    "open_ui": "orchestrator.api.follow.ui",
    "past_recorded": "orchestrator.api.recorded.record_export",
    "tracked_recorded": "orchestrator.api.recorded.from_mlflow",
    "plan_trials": "orchestrator.api.plan.plan",
    "read_sweep": "orchestrator.history.read_sweep",
    "recommend_search_space": "orchestrator.api.recommend.recommend",
    "replay_recorded": "orchestrator.simulation.replay_files",
    "reproduce": "orchestrator.api.reproduction.reproduction",
    "rerun_trial": "orchestrator.api.rerun.rerun",
    "resume_trial": "orchestrator.api.control.control",
    "run_sweep": "orchestrator.api.run.run",
    "score_forecast": "orchestrator.simulation.replay_files",
    "stop_trial": "orchestrator.api.control.control",
    "storage_status": "orchestrator.api.follow.status",
    "sweep_status": "orchestrator.api.follow.status",
    "tracked_sweep": "orchestrator.api.follow.tracked_status",
    "tracked_sweeps": "orchestrator.api.follow.tracked_status",
    "validate_sweep": "orchestrator.api.plan.preflight",
    "watch_sweep": "orchestrator.api.follow.watch",
    "watch_tracked": "orchestrator.api.follow.watch",
    "write_recommendation": "orchestrator.api.recommend.recommend",
    "write_report": "orchestrator.api.report.report",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it stands in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator.api' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
