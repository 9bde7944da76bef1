"""What is wrong with a plug-in is told in one line, before anything starts where it can be known, and by its own line later."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.api.plan.preflight import validate_sweep
from orchestrator.errors import InputError, PluginError, StorageError
from orchestrator.plugins.loading import forget, load_all
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.sweep import SweepSpec, resolved
from orchestrator.storage.plugin_files import keep_plugins, load_plugins
from orchestrator.storage.sweep_folder import SweepFolder
from orchestrator.training.methods import build_method
from orchestrator.training.setup.session import TrainingSession

CODE = """
from dataclasses import dataclass, field

from orchestrator.extending import (
    PLUGIN, Finding, Method, MethodEntry, OptimizerEntry, PeerRule, Schedule, SearcherKind, NoTracker, TrackerKind, about, entry, options_of, scorer,
)


@dataclass(frozen=True)
class Options:
    depth: int = field(default=1, metadata=about("How deep.", ge=1, le=3))


@entry(MethodEntry("weights", "all", 1e-3, "assumed", options=Options, implementation=PLUGIN))
class Mine(Method):
    pass


@entry(OptimizerEntry("none", build=PLUGIN, state_numbers=0, options=options_of(Options)))
def optimizer(model, groups, config, options):
    raise RuntimeError("not today")


@entry(SearcherKind("none", factory=PLUGIN, options=Options))
def searcher(task):
    return None


@scorer(metrics={"good": "max"}, options=Options)
def says(answers, references, options):
    return SAID


@dataclass(frozen=True)
class Rule(PeerRule):
    name = "rule"
    depth: int = field(default=1, metadata=about("How deep.", ge=1, le=3))


@entry(TrackerKind("none", schemes=(), opener=PLUGIN))
def tracker(task):
    return NoTracker()


class Bare:
    pass


class NoRule:
    name = "no_rule"


@entry(Schedule(lambda *given: 1.0, "not a plug-in's entry"))
def schedule(step, steps, warmup_steps, options):
    return 1.0
"""

KINDS = ("method", "optimizer", "schedule", "evaluation", "searcher", "stopping_rule", "tracker")
NAMES = ("tracker", "Mine", "Bare", "optimizer", "schedule", "searcher", "says", "Rule", "NoRule")


@pytest.fixture(autouse=True)
def forgotten():
    yield
    for kind in KINDS:
        for name in NAMES:
            forget(kind, f"mine.py:{name}")


def loaded(folder: Path, said: str = "{}", **changes: Any) -> SweepSpec:
    (folder / "mine.py").write_text(CODE.replace("SAID", said))
    values: dict[str, Any] = {
        "name": "own",
        "model": "testbed",
        "data": {"train": "testbed:sft?rows=40", "held_out": 6},
        "search_space": {"method": "full", "learning_rate": 1e-3, "effective_batch_size": 8},
        "budget": {"samples": 16, "trials": 1},
        "storage": str(folder / "runs"),
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    (folder / "own.yaml").write_text(yaml.safe_dump(values))
    return load_sweep(folder / "own.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"search_space": {"method": {"mine.py:Mine": {"depht": 2}}}},
            r"own.yaml:\d+: search_space.method.mine.py:Mine.depht = 2: .*no option of this name. Did you mean 'depth'\?",
        ),
        (
            {"search_space": {"method": {"mine.py:Mine": {"depth": [1, 4]}}}},
            r"search_space.method.mine.py:Mine.depth = 4: must be at most 3",
        ),
        (
            {"search_space": {"method": "mine.py:Bare"}},
            r"search_space.method = 'mine.py:Bare': a method carries a MethodEntry as its entry",
        ),
        (
            {"search_space": {"optimizer": {"name": "mine.py:optimizer", "depth": 9}}},
            r"depth of optimizer 'mine.py:optimizer' must be a whole number in 1..3, got 9",
        ),
        (
            {"search_space": {"schedule": "mine.py:schedule"}},
            r"search_space.schedule = 'mine.py:schedule': its entry has factor=PLUGIN",
        ),
        (
            {"searcher": {"kind": "mine.py:searcher", "options": {"deep": 1}}},
            r"options.deep = 1: .*no option of this name",
        ),
        (
            {"stopping": {"rules": [{"rule": "mine.py:Rule", "dept": 1}]}},
            r"stopping.rules.*dept = 1: .*Did you mean 'depth'",
        ),
        (
            {"stopping": {"rules": ["mine.py:NoRule"]}},
            r"mine.py = 'mine.py:NoRule': a stopping rule is a frozen dataclass",
        ),
        ({"stopping": {"rules": ["nothing"]}}, r"a rule is FILE.py:CLASS, or one that an installed package offers"),
        (
            {"evaluation": [{"name": "own", "kind": "mine.py:says", "options": {"depth": 0}}], "objective": "own/good"},
            r"options.depth = 0: must be at least 1",
        ),
        (
            {"evaluation": [{"name": "own", "kind": "mine.py:says"}], "objective": "own/bad"},
            r"no evaluation set gives this metric. Did you mean 'own/good'",
        ),
        ({"search_space": {"method": "mine.py:Min"}}, r"no 'Min' at the top level of .*mine.py. Did you mean 'Mine'"),
        (
            {"tracking": {"tracker": "mine.py:Bare"}},
            r"mine.py = 'mine.py:Bare': a tracker carries a TrackerKind as its entry",
        ),
    ],
)
def test_wrong_use_is_told_before_anything_starts(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        validate_sweep(loaded(tmp_path, **changes), where="own.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('{"good": float("nan")}', r"mine.py: says: evaluation.own/good = .*nan.*: a score is a finite number"),
        ('{"good": "high"}', r"evaluation.own/good = .*high.*: a score is a finite number"),
        ('{"fine": 1.0}', r"evaluation.own: it declares the metrics good, and returned fine"),
        ("{}", r"it declares the metrics good, and returned none"),
        ("1 / 0", r"mine.py:31: scoring 'own' failed: ZeroDivisionError: division by zero \(evaluation mine.py:says\)"),
        ("None", r"mine.py: scoring 'own' failed: TypeError"),
    ],
)
def test_a_scorer_that_breaks_its_word_is_told_by_its_file(tmp_path, said, message):
    sets = [{"name": "own", "kind": "mine.py:says", "limit": 2, "max_new_tokens": 1}]
    spec = loaded(tmp_path, said, evaluation=sets, objective="own/good")
    session = TrainingSession(spec.trial_setup, tmp_path / "cache", device="cpu")
    with pytest.raises(PluginError, match=message):
        session.base_scores()


def test_a_scorers_pair_is_value_and_error(tmp_path):
    sets = [{"name": "own", "kind": "mine.py:says", "limit": 2, "max_new_tokens": 1}]
    spec = loaded(tmp_path, '{"good": (0.5, 0.1)}', evaluation=sets, objective="own/good")
    session = TrainingSession(spec.trial_setup, tmp_path / "cache", device="cpu")
    assert session.base_scores() == {"own/good": 0.5}
    assert session.base_evaluation.standard_errors == {"own/good": 0.1}


def test_the_sweep_knows_the_text_of_its_code_and_pins_it(tmp_path):
    spec = loaded(tmp_path, search_space={"method": {"mine.py:Mine": {"depth": 2}}})
    assert list(spec.plugins) == ["method mine.py:Mine"]
    assert spec.content()["plugins"] == spec.plugins
    pinned = yaml.safe_dump(dict(resolved(spec)))
    (tmp_path / "again.yaml").write_text(pinned)
    assert load_sweep(tmp_path / "again.yaml").digest == spec.digest
    (tmp_path / "mine.py").write_text(CODE + "# other\n")
    with pytest.raises(PluginError, match=r"plugins.method mine.py:Mine = .*mine.py has another text"):
        load_sweep(tmp_path / "again.yaml")


def test_a_tracker_is_no_part_of_what_the_sweep_is(tmp_path):
    assert loaded(tmp_path, tracking={"tracker": "mine.py:tracker"}).digest == loaded(tmp_path).digest


def test_a_sweep_without_plug_ins_is_what_it_was(tmp_path):
    spec = loaded(tmp_path)
    assert "plugins" not in spec.content()
    assert "plugins" not in resolved(spec)


def test_code_is_read_back_from_the_sweeps_folder_where_its_file_is_gone(tmp_path):
    spec = loaded(tmp_path, search_space={"method": {"mine.py:Mine": {"depth": 2}}, "learning_rate": "auto"})
    folder = SweepFolder(tmp_path / "runs", "own")
    keep_plugins(folder, spec.plugin_codes)
    (tmp_path / "mine.py").unlink()
    forget("method", "mine.py:Mine")
    read = SweepSpec.model_validate(spec.content())
    assert read.plugin_codes == ()
    assert read.search_space.learning_rate_of("mine.py:Mine").low == pytest.approx(1e-4)
    said: list[str] = []
    load_plugins(folder, read.plugins, said.append)
    assert len(said) == 1
    assert read.plugin_codes == spec.plugin_codes
    assert type(build_method("mine.py:Mine", {"depth": 3})).__name__ == "Mine"


def test_code_in_the_sweeps_folder_that_was_changed_is_not_run(tmp_path):
    spec = loaded(tmp_path, search_space={"method": "mine.py:Mine", "learning_rate": "auto"})
    folder = SweepFolder(tmp_path / "runs", "own")
    keep_plugins(folder, spec.plugin_codes)
    (file,) = (folder.root / "plugins").iterdir()
    file.write_text(file.read_text().replace("How deep", "How steep"))
    forget("method", "mine.py:Mine")
    with pytest.raises(StorageError, match="is not the one that its digest"):
        load_plugins(folder, spec.plugins)


def test_no_package_takes_the_name_of_one_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.plugins.code.offered", lambda kind: pytest.fail("packages are not asked"))
    spec = loaded(tmp_path, search_space={"optimizer": "adamw", "schedule": "cosine"}, searcher="sobol")
    assert not spec.plugins


def test_a_worker_has_what_it_needs_in_the_trials_setup(tmp_path):
    spec = loaded(tmp_path, search_space={"method": "mine.py:Mine", "learning_rate": "auto"})
    setup = spec.trial_setup
    forget("method", "mine.py:Mine")
    load_all(setup.plugins)
    assert build_method("mine.py:Mine").options == {"depth": 1}
