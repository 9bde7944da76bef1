"""Optuna's pruners do under replay what their documentation and code say, computed here by hand."""

import binascii
import math

import numpy as np
import optuna
import pytest

from orchestrator.errors import SpecError
from orchestrator.records import Action
from orchestrator.simulation.engine.scheduler import Arrival, Scheduler
from orchestrator.simulation.recorded.sweep import RecordedSweep
from orchestrator.simulation.rivals.optuna import OptunaScheduler, optuna_rules
from tests.worlds.rival_sweeps import METRIC, ask, in_order, problem, recorded

CONTINUE, STOP = Action.CONTINUE, Action.STOP


def complete(rule: Scheduler, trial: int, curve: tuple[float, ...]) -> None:
    for level, value in enumerate(curve):
        assert ask(rule, trial, level, value, completed=level == len(curve) - 1) is CONTINUE


def test_successive_halving_promotes_the_best_fraction_of_those_so_far() -> None:
    rule = optuna_rules()["optuna-sha-rf2"]()
    rule.begin(problem(6, (100, 200, 400)))
    assert ask(rule, 0, 0, 1.0) is CONTINUE
    assert ask(rule, 1, 0, 2.0) is STOP  # one of two: 1.0
    assert ask(rule, 2, 0, 1.4) is STOP  # one of three
    assert ask(rule, 3, 0, 0.5) is CONTINUE
    assert ask(rule, 4, 0, 1.0) is CONTINUE  # two of five: 0.5 and 1.0
    assert ask(rule, 5, 0, math.nan) is STOP


def test_successive_halving_has_its_own_rungs() -> None:
    rule = optuna_rules()["optuna-sha-rf4"]()
    rule.begin(problem(2, (104, 200, 400, 1600)))
    ask(rule, 0, 0, 2.0)
    ask(rule, 1, 0, 1.0)
    assert ask(rule, 1, 1, 1.0) is CONTINUE
    assert ask(rule, 0, 1, 2.0) is CONTINUE, "200 is no rung"
    assert ask(rule, 1, 2, 1.0) is CONTINUE
    assert ask(rule, 0, 2, 2.0) is STOP, "400 is"


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_median_waits_for_five_completed_trials() -> None:
    rule = optuna_rules()["optuna-median"]()
    rule.begin(problem(8, (100, 200)))
    for trial in range(4):
        complete(rule, trial, (float(trial), float(trial)))
    assert ask(rule, 4, 0, 9.0) is CONTINUE
    assert ask(rule, 4, 1, 9.0, completed=True) is CONTINUE
    assert ask(rule, 5, 0, 2.1) is STOP  # median of 0, 1, 2, 3, 9
    assert ask(rule, 6, 0, 2.0) is CONTINUE
    assert ask(rule, 7, 0, math.nan) is STOP


def test_trials_pruned_or_diverged_are_no_part_of_the_median() -> None:
    rule = optuna_rules()["optuna-median-startup1"]()
    rule.begin(problem(4, (100, 200)))
    assert rule.arrive(Arrival("0", 0, 50, {}, (), 0.0, diverged=True)) is STOP
    complete(rule, 1, (1.0, 1.0))
    assert ask(rule, 2, 0, 5.0) is STOP
    assert ask(rule, 3, 0, 1.5) is STOP  # were 5.0 counted, the median would be 3.0


@pytest.mark.parametrize(("percentage", "cutoff"), [(10, 0.4), (25, 1.0), (75, 3.0)])
def test_percentile_keeps_the_share_in_its_name(percentage: int, cutoff: float) -> None:
    rule = optuna_rules()[f"optuna-percentile-top{percentage}"]()
    rule.begin(problem(7, (100, 200)))
    # All run at once: none is judged before five have completed.
    for trial in range(5):
        ask(rule, trial, 0, float(trial))
    for trial in range(5):
        # Equal at the end, so that the last milestone prunes none.
        assert ask(rule, trial, 1, -1.0, completed=True) is CONTINUE
    assert ask(rule, 5, 0, cutoff + 0.01) is STOP
    assert ask(rule, 6, 0, cutoff - 0.01) is CONTINUE


def test_hyperband_assigns_brackets_by_number_and_seed() -> None:
    # Factor 2, 100 to 400: brackets with first rungs at 100, 200, 400, of 4, 3 and 3 tenths of the trials.
    seed, trials = 5, 30
    rule = optuna_rules()["optuna-hyperband-rf2"]()
    rule.begin(problem(trials, (100, 200, 400), seed=seed))
    first = [n for n in range(trials) if binascii.crc32(f"replay-{seed}_{n}".encode()) % 10 < 4]
    # Scores get worse, so in the first bracket only its first trial passes the rung at 100.
    stopped = [n for n in range(trials) if ask(rule, n, 0, float(n)) is STOP]
    promoted = {first[0]}
    for count, trial in enumerate(first, start=1):
        if trial in first[: max(1, count // 2)]:
            promoted.add(trial)
    assert stopped == [n for n in first if n not in promoted]


def test_patience_prunes_only_what_no_longer_improves() -> None:
    rule = optuna_rules()["optuna-patient-patience1"]()
    levels = tuple(range(100, 600, 100))
    rule.begin(problem(7, levels))
    for trial in range(5):
        complete(rule, trial, (1.0, 0.9, 0.8, 0.7, 0.6))
    assert [ask(rule, 5, level, value) for level, value in enumerate((5.0, 6.0, 7.0))] == [CONTINUE, CONTINUE, STOP]
    assert [ask(rule, 6, level, value) for level, value in enumerate((5.0, 4.9, 4.8))] == [CONTINUE] * 3


def test_wilcoxon_compares_milestones_with_the_best_trial() -> None:
    levels = tuple(range(100, 1000, 100))
    rule = optuna_rules()["optuna-wilcoxon-p10"]()
    rule.begin(problem(3, levels))
    best = tuple(2.0 - level / 10 for level in range(9))
    complete(rule, 0, best)
    # n differences of one sign have p = 2^-n: 0.125 after three, 0.0625 after four.
    worse = [ask(rule, 1, level, best[level] + 0.1 * (level + 1)) for level in range(4)]
    assert worse == [CONTINUE, CONTINUE, CONTINUE, STOP]
    assert [ask(rule, 2, level, best[level] - 0.1 * (level + 1)) for level in range(4)] == [CONTINUE] * 4


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", sorted(optuna_rules()))
def test_replay_with_one_worker_is_a_plain_study(name: str) -> None:
    """The replayed loop against `Study.optimize` with the documented objective function."""
    levels, random = tuple(range(100, 1000, 100)), np.random.default_rng(1)
    curves = [random.uniform(1, 3) + np.cumsum(random.normal(-0.1, 0.15, len(levels))) for _ in range(30)]
    sweep = RecordedSweep("noisy", tuple(recorded(str(n), curve.tolist(), levels) for n, curve in enumerate(curves)))
    rule = optuna_rules()[name]()
    assert isinstance(rule, OptunaScheduler)
    study = optuna.create_study(study_name="replay-0", pruner=rule.build(problem(30, levels)))
    trained: dict[str, int] = {}

    def objective(trial: optuna.Trial) -> float:
        curve = curves[trial.number].tolist()
        for level, value in zip(levels, curve, strict=True):
            trained[str(trial.number)] = level
            trial.report(value, level)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(curve[-1])

    study.optimize(objective, n_trials=30)
    done = in_order(sweep, rule, workers=1)
    assert done.samples_trained == trained
    assert done.chosen == str(study.best_trial.number)


def test_trials_are_numbered_in_the_order_of_the_sweep() -> None:
    """A trial that reports first does not become number 0: brackets depend on the number."""
    early, late = (optuna_rules()["optuna-hyperband-rf2"]() for _ in range(2))
    verdicts = []
    for rule, order in ((early, range(12)), (late, [*range(11, 12), *range(11)])):
        rule.begin(problem(12, (100, 200, 400), workers=12))
        verdicts.append({n: ask(rule, n, 0, math.nan) for n in order})
    # What is not a number is pruned at its bracket's first rung, whoever came before.
    assert verdicts[0] == verdicts[1]
    assert set(verdicts[0].values()) == {CONTINUE, STOP}


def test_metric_that_was_not_measured_is_named() -> None:
    rule = optuna_rules()["optuna-median"]()
    rule.begin(problem(2, (100, 200)))
    with pytest.raises(SpecError, match=METRIC):
        rule.arrive(Arrival("0", 0, 100, {"eval/other": 1.0}, (), 0.0))
