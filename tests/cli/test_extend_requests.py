"""What an extension may be asked for: told before anything is started or written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import ExtendRequest, extend_sweep
from orchestrator.errors import InputError
from orchestrator.records import Action, Decision
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.search_space.enumeration import grid_configs
from orchestrator.spec.sweep_plan import plan_sweep
from orchestrator.spec.trial.identity import trial_fingerprint, trial_name
from orchestrator.storage.journal import Journal
from orchestrator.storage.sweep_folder import SweepFolder
from tests.worlds.journals.lines import as_record

SWEEP = """
name: done
model: testbed
data: {train: "testbed:sft", held_out: 0.1}
evaluation: [{name: eval, kind: loss, data: held_out}]
search_space: {method: {full: {learning_rate: [1e-3, 3e-3]}}, effective_batch_size: [8, 32]}
searcher: SEARCHER
budget: {samples: 512}
milestones: [0.5, 1.0]
"""


def finished(tmp_path: Path, searcher: str = "grid") -> SweepFolder:
    """Return the folder of a sweep of four trials, of which one completed and three were stopped."""
    file = tmp_path / "done.yaml"
    file.write_text(SWEEP.replace("SEARCHER", searcher))
    spec = load_sweep(file, [f'storage="{tmp_path / "runs"}"'])
    folder = SweepFolder(tmp_path / "runs", "done")
    plan, journal = plan_sweep(spec, 1000), Journal(folder.journal)
    content = {**spec.content(), "record": False}
    journal.append(as_record("sweep", {"sweep_id": "s", "content": content, "inputs": {}, "plan": asdict(plan)}))
    journal.append(as_record("session", {"slots": 1, "cpus": 1.0, "folder": str(Path.cwd()), "tracking": None}))
    for number, config in enumerate(grid_configs(spec.search_space, plan.samples)):
        trial_id = trial_fingerprint(config)
        journal.append(as_record("trial", {"trial": trial_id, "name": trial_name(config), "config": config.as_dict()}))
        for index, level in enumerate(plan.levels[: 2 if number == 0 else 1]):
            state = "completed" if index == 1 else "running"
            action = Action.CONTINUE if number == 0 else Action.STOP
            decision = Decision(trial_id, level, action, "rungs", "the sweep", "because")
            journal.append(
                as_record(
                    "milestone",
                    {
                        "trial": trial_id,
                        "index": index,
                        "level": level,
                        "state": state,
                        "samples_seen": level,
                        "tokens_seen": 1,
                        "scores": {"eval/loss": 1.0 + number},
                        "standard_errors": {},
                        "training_seconds": 1.0,
                        "dynamics": {},
                        "evaluation_seconds": 0.1,
                        "setup_seconds": 0.0,
                        "checkpoint": None,
                        "node": "",
                        "last_signal": None,
                        "decision": asdict(decision),
                    },
                )
            )
    journal.append(as_record("session_end", {"status": "completed", "wall_seconds": 1.0, "slot_seconds": 1.0}))
    journal.close()
    return folder


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"changes": ["model=other"]}, r"an extension may change .*model\.path"),
        ({"changes": ["budget.samples=1024"]}, r"budget\.samples: 512 -> 1024"),
        ({"changes": ["objective.mode=max"]}, r"objective\.mode"),
        ({"changes": ["budget.trials=3"]}, "has 4 trials already"),
        ({"changes": ["searcher=sobol"]}, "the number of further trials"),
        ({"changes": ["search_space.method=loar"]}, "lora"),
        ({"trials": 3}, "exhausted"),
        ({"best": 1}, "exactly one of --samples and --epochs"),
        ({"samples": 1024}, "goes with --best"),
        ({"clone_changes": ["seed=1"]}, "none is asked for"),
        ({"from_weights": True}, "none is asked for"),
        ({"resume": ["full lr1e-3 ebs8 s0"]}, "only a stopped trial"),
        ({"resume": ["full lr3e-3 ebs8 s0"]}, "is gone"),
        ({"resume": ["full lr3e-3 ebs9 s0"]}, "no such trial"),
        ({"clone": "full lr1e-3 ebs8 s0", "clone_changes": ["effective_batch_size=32"]}, "exists already"),
        ({"clone": "full lr1e-3 ebs8 s0", "from_weights": True, "clone_changes": ["method=lora"]}, "its own method"),
        ({"repeats": 1}, "one new seed"),
        ({"audit": 2.0}, "audit"),
    ],
)
def test_wrong_request_is_refused_before_anything_is_written(
    tmp_path: Path, request_: dict[str, Any], said: str
) -> None:
    folder = finished(tmp_path)
    before = folder.journal.read_bytes()
    with pytest.raises(InputError, match=said):
        extend_sweep(folder, ExtendRequest(**request_))
    assert folder.journal.read_bytes() == before
    assert not folder.actions.exists()


def test_file_may_differ_in_the_search_only(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    file = tmp_path / "other.yaml"
    file.write_text(SWEEP.replace("SEARCHER", "grid").replace("[0.5, 1.0]", "[0.25, 1.0]"))
    with pytest.raises(InputError, match="milestones"):
        extend_sweep(folder, ExtendRequest(file=file, trials=1))
    file.write_text(SWEEP.replace("SEARCHER", "grid").replace("name: done", "name: else"))
    with pytest.raises(InputError, match="another name"):
        extend_sweep(folder, ExtendRequest(file=file, trials=1))
    with pytest.raises(InputError, match="excludes --set"):
        extend_sweep(folder, ExtendRequest(file=file, changes=["budget.trials=9"]))


def test_sweep_that_is_unknown_is_named(tmp_path: Path) -> None:
    finished(tmp_path)
    with pytest.raises(InputError, match="Did you mean 'done'"):
        extend_sweep("dona", storage=tmp_path / "runs")
