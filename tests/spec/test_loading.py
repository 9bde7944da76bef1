"""Every wrong sweep file gets one error with file and line, field, value, rule and mend."""

import stat
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.loading import load_sweep
from orchestrator.spec.search_space.domains import Choice, Fixed
from orchestrator.spec.sweep import SweepSpec, resolved
from tests.worlds.sweep_files import ROOT, SWEEP, line_of


def write(folder: Path, text: str) -> Path:
    file = folder / "sweep.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str, *overrides: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_sweep(write(folder, text), overrides)
    return caught.value


def shipped() -> list[Path]:
    return sorted((ROOT / "search_spaces").rglob("*.yaml"))


@pytest.mark.parametrize("file", shipped(), ids=lambda file: str(file.relative_to(ROOT)))
def test_shipped_sweep_files_load(file: Path) -> None:
    assert load_sweep(file).name


def test_there_are_shipped_sweep_files() -> None:
    assert {file.stem for file in shipped()} >= {"quickstart", "dolly"}


def test_a_small_sweep_file_loads(tmp_path: Path) -> None:
    spec = load_sweep(write(tmp_path, SWEEP))
    assert spec.search_space.effective_batch_size == Choice((8, 16))
    assert spec.milestones == [0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0]


# part of the line that is replaced, what replaces it, field, value, part of the rule, part of the mend
WRONG: dict[str, tuple[str, str, str, Any, str, str]] = {
    "unknown key": (
        "budget:",
        "budgt:",
        "budgt",
        {"trials": 4, "samples": 64},
        "not known here",
        "did you mean 'budget'?",
    ),
    "unknown nested key": ("trials: 4", "trails: 4", "budget.trails", 4, "not known here", "did you mean 'trials'?"),
    "unknown key in a list": (
        "kind: loss",
        "knd: loss",
        "evaluation.0.knd",
        "loss",
        "not known",
        "did you mean 'kind'?",
    ),
    "unknown key of a dataclass": (
        "train: rows.jsonl",
        "train: rows.jsonl, colums: {}",
        "data.colums",
        {},
        "not known",
        "did you mean 'columns'?",
    ),
    "unknown key far from any": (
        "trials: 4",
        "zzzz: 4",
        "budget.zzzz",
        4,
        "not known here",
        "known keys: trials, samples, epochs, wall_minutes",
    ),
    "number for text": ("name: tiny", "name: 12", "name", 12, "must be text", ""),
    "no for text": ("name: tiny", "name: no", "name", False, "must be text", "put quotes round it"),
    "text for a number": ("trials: 4", "trials: many", "budget.trials", "many", "must be a whole number", ""),
    "fraction for a whole number": ("trials: 4", "trials: 4.5", "budget.trials", 4.5, "must be a whole number", ""),
    "yes for a number": ("trials: 4", "trials: yes", "budget.trials", True, "must be a number", "YAML reads yes"),
    "yes for a batch size": (
        "effective_batch_size: [8, 16]",
        "effective_batch_size: yes",
        "search_space.effective_batch_size",
        True,
        "must be a whole number >= 1",
        "",
    ),
    "yes in a dataclass": (
        "train: rows.jsonl",
        "train: rows.jsonl, held_out: yes",
        "data.held_out",
        True,
        "must be a number",
        "YAML reads",
    ),
    "text for true or false": (
        "searcher:",
        "tracking: {enabled: maybe}\nsearcher:",
        "tracking.enabled",
        "maybe",
        "must be true or false",
        "",
    ),
    "mapping for a list": ("searcher:", "milestones: {a: 1}\nsearcher:", "milestones", {"a": 1}, "must be a list", ""),
    "list for a mapping": (
        "budget: {trials: 4, samples: 64}",
        "budget: [4]",
        "budget",
        [4],
        "must be a mapping of fields",
        "",
    ),
    "too small": ("trials: 4", "trials: 0", "budget.trials", 0, "greater than or equal to 1", ""),
    "infinite": ("samples: 64", "epochs: .inf", "budget.epochs", float("inf"), "must be a finite number", ""),
    "required and missing": ("name: tiny\n", "", "name", None, "this field is required", ""),
    "bad name": ("name: tiny", "name: a/b", "name", "a/b", "match pattern", ""),
    "empty choice": (
        "[8, 16]",
        "[]",
        "search_space.effective_batch_size",
        [],
        "at least one value, got an empty list",
        "",
    ),
    "low above high": (
        "learning_rate: auto",
        "learning_rate: {log_uniform: [1e-3, 1e-5]}",
        "search_space.learning_rate",
        {"log_uniform": [1e-3, 1e-5]},
        "low <= high, got [0.001, 1e-05]",
        "swap the two numbers",
    ),
    "log range with 0": (
        "learning_rate: auto",
        "learning_rate: {log_uniform: [0, 1e-3]}",
        "search_space.learning_rate",
        {"log_uniform": [0, 1e-3]},
        "must lie above 0, got low = 0",
        "",
    ),
    "unknown domain": (
        "learning_rate: auto",
        "learning_rate: {loguniform: [1e-5, 1e-3]}",
        "search_space.learning_rate",
        {"loguniform": [1e-5, 1e-3]},
        "exactly one of fixed, choice",
        "did you mean 'log_uniform'?",
    ),
    "learning rate not for the method": (
        "full: {}",
        "full: {learning_rate: 30}",
        "search_space.method.full.learning_rate",
        30,
        "no learning rate for method 'full', known to use 1e-06 to 0.0001",
        "any_learning_rate: true",
    ),
    "shared learning rate not for a method": (
        "learning_rate: auto",
        "learning_rate: [1e-4, 30]",
        "search_space.learning_rate",
        30,
        "no learning rate for method 'full'",
        "correct it",
    ),
    "auto among numbers": (
        "learning_rate: auto",
        "learning_rate: [auto, 1e-4]",
        "search_space.learning_rate",
        ["auto", 1e-4],
        "a number > 0, or auto alone",
        "",
    ),
    "unknown method": (
        "lora: {r: 8}",
        "loar: {r: 8}",
        "search_space.method.loar",
        None,
        "no method of this name",
        "did you mean 'lora'?",
    ),
    "method that cannot be swept": (
        "lora: {r: 8}",
        "xlora: {}",
        "search_space.method.xlora",
        None,
        "this method cannot be swept",
        "",
    ),
    "unknown option": ("r: 8", "ranc: 8", "search_space.method.lora.ranc", 8, "no option of this name", ""),
    "wrong option": ("r: 8", "r: [8, big]", "search_space.method.lora.r", "big", "must be int", ""),
    "unknown schedule": (
        "learning_rate: auto",
        "schedule: cosin",
        "search_space.schedule",
        "cosin",
        "no schedule 'cosin'",
        "did you mean 'cosine'?",
    ),
    "unknown schedule option": (
        "learning_rate: auto",
        "schedule: {name: wsd, decay: 1}",
        "search_space.schedule",
        {"name": "wsd", "decay": 1},
        "schedule 'wsd' has no option 'decay'",
        "did you mean 'decay_share'?",
    ),
    "unknown warm-up": (
        "learning_rate: auto",
        "warmup: {ration: 0.1}",
        "search_space.warmup",
        {"ration": 0.1},
        "a warm-up is 0",
        "did you mean 'ratio'?",
    ),
    "unknown searcher": (
        "kind: sobol",
        "kind: sobl",
        "searcher.kind",
        "sobl",
        "must be one of grid, random",
        "did you mean 'sobol'?",
    ),
    "objectives without nsga2": (
        "kind: sobol",
        "objectives: [eval/loss]",
        "searcher.objectives.0",
        "eval/loss",
        "",
        "",
    ),
    "unknown metric": (
        "metric: eval/loss",
        "metric: eval/los",
        "objective.metric",
        "eval/los",
        "no evaluation set gives this metric",
        "did you mean 'eval/loss'?",
    ),
    "unknown metric in a constraint": (
        "mode: min",
        "constraints: [{metric: eval/forget, at_most: 1}]",
        "objective.constraints.0.metric",
        "eval/forget",
        "no evaluation set gives this metric",
        "did you mean 'eval/loss'?",
    ),
    "two bounds": (
        "mode: min",
        "constraints: [{metric: eval/loss, at_most: 1, at_least: 0}]",
        "objective.constraints.0",
        {"metric": "eval/loss", "at_most": 1, "at_least": 0},
        "needs exactly one of at_most, at_least",
        "",
    ),
    "samples and epochs": (
        "samples: 64",
        "samples: 64, epochs: 1",
        "budget",
        {"trials": 4, "samples": 64, "epochs": 1},
        "give samples or epochs, not both",
        "",
    ),
    "no training data": (
        "train: rows.jsonl",
        "limit: 3",
        "data.train",
        None,
        "the training data is missing",
        "give a file",
    ),
    "held-out data that is not there": (
        "train: rows.jsonl",
        "train: rows.jsonl, held_out: 0",
        "data.held_out",
        0,
        "reads held_out",
        "give a share",
    ),
    "phased without phases": (
        "learning_rate: auto",
        "data_strategy: phased",
        "data.phases",
        None,
        "at least two phases",
        "",
    ),
    "objective only at the end": (
        "kind: loss",
        "kind: loss, when: end",
        "objective.metric",
        "eval/loss",
        "evaluated only at the end",
        "when: milestones",
    ),
    "rung that is no milestone": (
        "searcher:",
        "stopping: {rungs: {levels: [0.3]}}\nsearcher:",
        "stopping.rungs.levels.0",
        0.3,
        "must be one of the milestones",
        "",
    ),
    "falling milestones": (
        "searcher:",
        "milestones: [0.5, 0.25]\nsearcher:",
        "milestones",
        [0.5, 0.25],
        "rising shares of the budget",
        "",
    ),
    "two evaluation sets of one name": (
        "kind: loss}",
        "kind: loss}\n  - {name: eval}",
        "evaluation",
        [{"name": "eval", "kind": "loss"}, {"name": "eval"}],
        "'eval' appears twice",
        "",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_sweep_file_is_refused(tmp_path: Path, case: str) -> None:
    old, new, field, value, rule, mend = WRONG[case]
    text = SWEEP.replace(old, new, 1)
    error = refused(tmp_path, text)
    assert error.where.startswith(str(tmp_path / "sweep.yaml"))
    assert error.field == field
    assert error.value == value
    assert rule in error.rule
    assert mend in error.mend
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("trials: 4", "trails: 4", "trails"),
        ("trials: 4", "trials: many", "many"),
        ("kind: loss", "kind: los", "kind: los"),
        ("full: {}", "full: {learning_rate: 30}", "full:"),
        ("r: 8", "ranc: 8", "ranc"),
        ("metric: eval/loss", "metric: eval/los", "eval/los"),
        ("learning_rate: auto", "learning_rate: []", "learning_rate: []"),
        ("train: rows.jsonl", "held_out: yes", "held_out"),
    ],
)
def test_error_names_the_line(tmp_path: Path, old: str, new: str, place: str) -> None:
    text = SWEEP.replace(old, new, 1)
    assert refused(tmp_path, text).where == f"{tmp_path / 'sweep.yaml'}:{line_of(text, place)}"


def test_further_problems_are_hinted_at(tmp_path: Path) -> None:
    error = refused(tmp_path, SWEEP.replace("trials: 4", "trials: 0").replace("name: tiny", "name: [a]"))
    assert {error.field, error.mend.rpartition(" ")[2]} == {"name", "budget.trials"}


# ---- YAML itself ----


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    write(tmp_path, SWEEP)
    with pytest.raises(SpecError, match=r"swep.yaml: there is no such file. Did you mean 'sweep.yaml'\?"):
        load_sweep(tmp_path / "swep.yaml")


def test_missing_folder_says_check_the_path(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        load_sweep(tmp_path / "nowhere" / "sweep.yaml")


def test_folder_and_bytes_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_sweep(tmp_path)
    (tmp_path / "image.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SpecError, match="cannot be read as text"):
        load_sweep(tmp_path / "image.yaml")


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, SWEEP)
    file.chmod(0)
    try:
        file.read_bytes()
        pytest.skip("this user may read every file")
    except PermissionError:
        with pytest.raises(SpecError, match="cannot be read"):
            load_sweep(file)
    finally:
        file.chmod(stat.S_IRUSR | stat.S_IWUSR)


@pytest.mark.parametrize(
    ("added", "line", "column", "rule"),
    [
        ("budget2: {trials: 3\n", 14, 1, "expected ',' or '}'"),
        ("\tseed: 3\n", 13, 1, "cannot start any token"),
        ("name: again\n", 13, 1, "the key 'name' appears twice"),
        ("  method: {full: {}}\n", 13, 3, "the key 'method' appears twice"),
        ("? [a, b]\n: 3\n", 13, 3, "a key must be a single word"),
        ("storage: *nothing\n", 13, 10, "undefined alias"),
        ("---\nname: second\n", 13, 1, "but found another document"),
    ],
)
def test_yaml_errors_name_line_and_column(tmp_path: Path, added: str, line: int, column: int, rule: str) -> None:
    error = refused(tmp_path, SWEEP + added)
    assert error.where == f"{tmp_path / 'sweep.yaml'}:{line}:{column}"
    assert error.rule.startswith("this is not YAML: ")
    assert rule in error.rule


def test_yaml_that_contains_itself_is_refused(tmp_path: Path) -> None:
    assert "contains itself" in refused(tmp_path, SWEEP + "budget2: &a {b: *a}\n").rule
    assert "nested too deeply" in refused(tmp_path, SWEEP + "deep: " + "[" * 5000).rule


@pytest.mark.parametrize(("text", "said"), [("", "required"), ("- a\n", "is a list"), ("hello\n", "is a str")])
def test_file_that_is_no_mapping(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text).rule


def test_key_that_is_no_text(tmp_path: Path) -> None:
    error = refused(tmp_path, SWEEP + "8: 3\n")
    assert (error.where, error.rule) == (f"{tmp_path / 'sweep.yaml'}:13", "a key must be text, got 8")


def number(folder: Path, written: str) -> Any:
    spec = load_sweep(write(folder, SWEEP.replace("learning_rate: auto", f"weight_decay: {written}")))
    domain = spec.search_space.weight_decay
    assert isinstance(domain, Fixed)
    return domain.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5),
        ("1E-5", 1e-5),
        ("1.e-5", 1e-5),
        (".5e-3", 5e-4),
        ("+1e-5", 1e-5),
        ("1e2", 100.0),
        ("010", 10),
        ("08", 8),
        ("1_000", 1000),
        ("0.1", 0.1),
    ],
)
def test_numbers_are_read_as_people_mean_them(tmp_path: Path, written: str, value: float) -> None:
    read = number(tmp_path, written)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("written", ["12:30", "2024-01-01", "0x10", "1e-5x"])
def test_text_that_looks_like_a_number_stays_text(tmp_path: Path, written: str) -> None:
    assert refused(tmp_path, SWEEP.replace("learning_rate: auto", f"weight_decay: {written}")).value == written


# ---- --set ----


def test_overrides_change_fields(tmp_path: Path) -> None:
    text = SWEEP.replace("{metric: eval/loss, mode: min}", "eval/loss").replace("{kind: sobol, seed: 0}", "random")
    spec = load_sweep(
        write(tmp_path, text),
        [
            "model=./other",
            "model.revision=v1",
            "budget.trials=9",
            "searcher.seed=3",
            "objective.mode=max",
            "search_space.method.lora.r=[4, 8]",
            "stopping.rungs.enabled=no",
            "data.max_length=64",
            "name = spaced",
        ],
    )
    assert (spec.model.path, spec.model.revision, spec.budget.trials) == ("./other", "v1", 9)
    assert (spec.searcher.kind, spec.searcher.seed) == ("random", 3)
    assert (spec.objective.metric, spec.objective.mode) == ("eval/loss", "max")
    assert spec.search_space.method["lora"]["r"] == Choice((4, 8))
    assert (spec.stopping.rungs.enabled, spec.data.max_length, spec.name) == (False, 64, "spaced")


@pytest.mark.parametrize(
    ("override", "field", "value", "rule", "mend"),
    [
        ("storage", "", "storage", "an override is dotted.key=value", "e.g. --set"),
        ("=3", "", "=3", "an override is dotted.key=value", "e.g. --set"),
        ("budget..trials=3", "", "budget..trials=3", "an override is dotted.key=value", "e.g. --set"),
        ("budget.trials=many", "budget.trials", "many", "must be a whole number", ""),
        ("budget.trials=yes", "budget.trials", True, "must be a number", "YAML reads yes"),
        ("budget.trails=3", "budget.trails", 3, "not known here", "did you mean 'trials'?"),
        ("budgt.trials=3", "budgt", {"trials": 3}, "not known here", "did you mean 'budget'?"),
        ("name=[", "name", "[", "the value is not YAML", "put quotes round it"),
        ("data.train.x=3", "data.train.x", "3", "'train' holds 'rows.jsonl' and has no fields", ""),
        ("evaluation.0.kind=loss", "evaluation.0.kind", "loss", "cannot reach into a list", "set the whole list"),
        ("objective.metric=eval/los", "objective.metric", "eval/los", "no evaluation set", "did you mean 'eval/loss'?"),
        ("search_space.learning_rate=30", "search_space.learning_rate", 30, "no learning rate for", "correct it"),
    ],
)
def test_wrong_override_is_refused(tmp_path: Path, override: str, field: str, value: Any, rule: str, mend: str) -> None:
    error = refused(tmp_path, SWEEP, override)
    assert (error.where, error.field, error.value) == ("--set", field, value)
    assert rule in error.rule
    assert mend in error.mend


def test_override_elsewhere_does_not_take_the_blame(tmp_path: Path) -> None:
    text = SWEEP.replace("metric: eval/loss", "metric: foo")
    assert refused(tmp_path, text, "storage=x").where.endswith(f"sweep.yaml:{line_of(text, 'foo')}")


def test_override_that_clashes_with_the_file_names_both(tmp_path: Path) -> None:
    error = refused(tmp_path, SWEEP, "budget.epochs=1")
    assert error.where == f"{tmp_path / 'sweep.yaml'}:{line_of(SWEEP, 'budget')} with --set budget.epochs"


# ---- content ----


def test_digest_ignores_where_a_sweep_runs(tmp_path: Path) -> None:
    file = write(tmp_path, SWEEP)
    base = load_sweep(file)
    for override in (
        "storage=y",
        "resources.cpu=2",
        "cluster=existing",
        "tracking.enabled=false",
        "description=x",
        "budget.wall_minutes=3",
    ):
        assert load_sweep(file, [override]).digest == base.digest
    for override in ("budget.trials=5", "search_space.seed=1", "data.limit=9", "milestones=[0.5]", "searcher.seed=1"):
        assert load_sweep(file, [override]).digest != base.digest


def test_resolved_sweep_loads_again(tmp_path: Path) -> None:
    for file in [write(tmp_path, SWEEP), *shipped()]:
        spec = load_sweep(file)
        assert SweepSpec.model_validate(dict(resolved(spec))) == spec
