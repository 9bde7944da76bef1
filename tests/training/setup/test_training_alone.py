"""Training stands alone: on a machine without Ray, MLflow, Optuna and pydantic it trains, saves, goes on and exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

PROGRAM = '''
import importlib, importlib.util, json, pkgutil, sys
from pathlib import Path

ABSENT = {"ray", "mlflow", "optuna", "pydantic", "pydantic_core"}


class WithoutSome:
    """Asks another finder, and finds none of the absent packages."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [WithoutSome(finder) for finder in sys.meta_path]
assert all(importlib.util.find_spec(name) is None for name in ABSENT)

import orchestrator.training

# An extra; the modules of its name need it.
without_lm_eval = importlib.util.find_spec("lm_eval") is None
for module in pkgutil.walk_packages(orchestrator.training.__path__, "orchestrator.training."):
    if not (without_lm_eval and ".lm_eval" in module.name):
        importlib.import_module(module.name)

from orchestrator.records import TrialConfig
from orchestrator.settings.trial_setup import DataSettings, EvaluationSet, ModelSettings, TrainingSettings, TrialSetup
from orchestrator.training.setup.session import TrainingSession

setup = TrialSetup(
    ModelSettings("testbed"),
    DataSettings("testbed:sft", held_out=0.25, limit=60),
    (EvaluationSet("eval"), EvaluationSet("skills", "exact_match", "testbed:skills", limit=4, max_new_tokens=4)),
    TrainingSettings(gradient_checkpointing=True),
)
folder = Path(sys.argv[1])
session = TrainingSession(setup, folder / "cache", threads=1, device="cpu")
found = {}
for method in ("full", "lora"):
    config = TrialConfig(method, 8, 3e-3, 32)
    trial = session.trial(config, method)
    losses = [signal.loss for signal in trial.advance(16).signals]
    trial.save(folder / method)
    resumed = session.trial(config, method)
    resumed.load(folder / method)
    found[method] = {
        "losses": losses + [signal.loss for signal in trial.advance(32).signals],
        "resumed": losses + [signal.loss for signal in resumed.advance(32).signals],
        "scores": trial.evaluate(final=True),
    }
    trial.export(folder / f"{method}-exported")
found["loaded"] = sorted(ABSENT & {name.partition(".")[0] for name in sys.modules})
print(json.dumps(found))
'''


def test_training_needs_no_ray_mlflow_optuna_pydantic(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("loaded") == []
    for method, facts in found.items():
        assert len(facts["losses"]) == 4, method
        assert facts["resumed"] == facts["losses"], method
        assert set(facts["scores"]) == {"eval/loss", "skills/exact_match"}, method
        assert list((tmp_path / f"{method}-exported").glob("*.safetensors")), method
