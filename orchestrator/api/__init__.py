"""The Python interface: what the command line does, with typed results.

>>> from orchestrator import load_sweep, run_sweep
>>> result = run_sweep(load_sweep("search_spaces/quickstart.yaml"))  # doctest: +SKIP
>>> result.winner.name, result.winner.scores  # doctest: +SKIP
"""

from orchestrator.api.plan import PlanResult, TrialPlan, plan_trials
from orchestrator.api.preflight import ValidationResult, validate_sweep
from orchestrator.api.record_export import export_recorded
from orchestrator.api.run import run_sweep
from orchestrator.api.sweep_history import read_sweep
from orchestrator.simulation.replay_files import fit_forecast_files, replay_recorded
from orchestrator.spec.loading import load_sweep

__all__ = [
    "PlanResult",
    "TrialPlan",
    "ValidationResult",
    "export_recorded",
    "fit_forecast_files",
    "load_sweep",
    "plan_trials",
    "read_sweep",
    "replay_recorded",
    "run_sweep",
    "validate_sweep",
]
