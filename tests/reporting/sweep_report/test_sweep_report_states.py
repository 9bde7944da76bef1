"""Reports of sweeps that run, were cut off or have nothing yet; other objectives; repeats and audits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from orchestrator import read_sweep
from orchestrator.records import Outcome, Role
from orchestrator.reporting.sweep_report.compose import compose_report
from orchestrator.reporting.sweep_report.facts.facts import SweepFacts
from orchestrator.reporting.sweep_report.layout.blocks import Details, Paragraph, Table, plain
from orchestrator.reporting.sweep_report.layout.markdown import report_markdown
from orchestrator.reporting.sweep_report.layout.page import report_page
from orchestrator.reporting.sweep_report.sections.edges import find_edges
from orchestrator.reporting.sweep_report.sections.next_space import propose
from orchestrator.results.records import AuditResult, MeasuredShare, RecipeResult, WinnerVerdict
from orchestrator.storage.later_scores import LaterScores, append_scores
from tests.worlds.report_sweeps import LEVELS, MadeSweep, finished, formula_scores, quality, sweep_spec


def told(report):
    return " ".join(plain(sentence) for sentence in report.headline)


def anchors(report):
    return [section.anchor for section in report.sections]


def texts(report, anchor):
    """Return paragraphs and table cells of a section."""
    blocks = next(section.blocks for section in report.sections if section.anchor == anchor)
    found = []
    for block in [inner for each in blocks for inner in (each.blocks if isinstance(each, Details) else [each])]:
        if isinstance(block, Paragraph):
            found.append(plain(block.spans))
        if isinstance(block, Table):
            found += [cell for row in block.rows for cell in row]
    return found


def reported(history, now=None):
    """Compose, and write both ways (either may fail on odd values)."""
    report = compose_report(history, history.ended + 30 if now is None else now)
    report_page(report)
    report_markdown(report)
    return report


def test_running_sweep_says_so_and_who_leads(tmp_path):
    made = MadeSweep(tmp_path, sweep_spec(), stopped_at=lambda config: None)
    made.train(5, milestones=2)
    with made.alive() as folder:
        history = read_sweep(folder, signals=True)
    report = reported(history)
    assert "Still running (last sign of life 30 s ago" in told(report)
    assert "0 of 24 trials have ended" in told(report)
    leader = min(history.trials, key=lambda trial: quality(trial.result.config)).result.name
    assert f"No winner yet: {leader} leads" in told(report)
    assert "comparison" not in anchors(report)
    assert "pareto" not in anchors(report)
    recipe = next(section for section in report.sections if section.anchor == "recipe")
    assert recipe.title == "Leading recipe so far"


def test_killed_sweep_is_interrupted(tmp_path):
    made = MadeSweep(tmp_path, sweep_spec())
    made.train(8)
    report = reported(read_sweep(made.killed(), signals=True))
    assert "Interrupted: 8 of 24 trials have ended." in told(report)
    assert "Use " in told(report)


@pytest.mark.parametrize("trials", [0, 3])
def test_nothing_finished_yet_is_one_clear_sentence(tmp_path, trials):
    made = MadeSweep(tmp_path, sweep_spec())
    made.train(trials, milestones=0)
    report = reported(read_sweep(made.killed(), signals=True))
    assert "Nothing to recommend yet: no trial has reached a milestone with a score" in told(report)
    assert anchors(report) == (["completed", "capsule"] if trials else ["capsule"])
    assert list(report.charts()) == []


def test_all_trials_diverged(tmp_path):
    made = MadeSweep(tmp_path, sweep_spec(), diverges=lambda config: True, stopped_at=lambda config: None)
    made.train(24)
    report = reported(read_sweep(made.end(), signals=True))
    assert "no trial has been trained to its end" in told(report)
    assert "24 trials ended early" in told(report)
    assert "Diverged: 24 trials" in [
        block.summary for block in report.sections[anchors(report).index("stopped")].blocks[1:]
    ]


def test_scores_that_are_no_numbers_win_nothing(tmp_path):
    def scores(config, level):
        return {**formula_scores(config, level), **({"eval/loss": math.nan} if config.method == "lora" else {})}

    report = reported(read_sweep(finished(tmp_path, scores=scores), signals=True))
    assert "Use full" in told(report)
    assert "nan" not in told(report).replace("nanosecond", "")


def test_a_metric_scored_beside_the_trials_at_milestones_has_its_curves(tmp_path):
    folder = finished(tmp_path)
    trials = [trial for trial in read_sweep(folder).trials if len(trial.milestones) > 1][:2]
    found = [
        LaterScores(
            trial.result.trial_id,
            each.index,
            each.samples_seen,
            {"quiz/accuracy": 0.0 if each.index else 0.25},
            {},
            1.0,
        )
        for trial in trials
        for each in trial.milestones
    ]
    append_scores(folder.later_scores, found)
    report = reported(read_sweep(folder, signals=True))
    (chart,) = [chart for chart in report.charts() if chart.name == "curves-score-1"]
    assert chart.title == "Also scored: quiz/accuracy"
    drawn = sorted((row["x_"], row["y_"]) for row in chart.spec["data"]["values"])
    assert drawn == sorted((each.samples_seen, each.scores["quiz/accuracy"]) for each in found)


def test_highest_is_best_under_max(tmp_path):
    spec = sweep_spec(objective={"metric": "eval/loss", "mode": "max"}, stopping={"rungs": {"enabled": False}})
    made = MadeSweep(tmp_path, spec, stopped_at=lambda config: None)
    made.train(24)
    history = read_sweep(made.end(), signals=True)
    worst = max(history.trials, key=lambda trial: quality(trial.result.config)).result
    report = reported(history)
    assert f"Use {worst.name}" in told(report)
    assert "Higher eval/loss is better" in told(report)
    cells = [
        row for chart in report.charts() if chart.name.startswith("heat-map") for row in chart.spec["data"]["values"]
    ]
    assert max(cells, key=lambda row: row["shade"])["trial"] == worst.name
    assert "How sure: it leads the runner-up" in told(report)
    assert "by -" not in told(report)


def test_constraints_are_told_kept_or_broken(tmp_path):
    objective = {"metric": "eval/loss", "constraints": [{"metric": "general/forgetting", "at_most": 1.7}]}
    kept = MadeSweep(tmp_path / "kept", sweep_spec(objective=objective), stopped_at=lambda config: None)
    kept.train(24)
    report = reported(read_sweep(kept.end(), signals=True))
    assert "as long as general/forgetting <= 1.7" in told(report)
    assert "The winner keeps the constraints of the objective: general/forgetting <= 1.7." in texts(
        report, "comparison"
    )
    objective["constraints"][0]["at_most"] = 0.1
    broken = MadeSweep(tmp_path / "broken", sweep_spec(objective=objective), stopped_at=lambda config: None)
    broken.train(24)
    report = reported(read_sweep(broken.end(), signals=True))
    assert "It breaks general/forgetting <= 0.1, as all completed trials do." in told(report)
    assert any("breaks 1 constraint" in text for text in texts(report, "comparison"))


def test_weighted_objective_has_a_row_and_an_error_of_its_own(tmp_path):
    spec = sweep_spec(
        evaluation=[{"name": "eval"}, {"name": "general", "kind": "text_loss", "data": "testbed:biographies"}],
        objective={"metric": {"eval/loss": 1.0, "general/forgetting": 0.5}},
    )

    def scores(config, level):
        return {**formula_scores(config, LEVELS[-1]), "eval/loss": formula_scores(config, level)["eval/loss"]}

    made = MadeSweep(tmp_path, spec, scores)
    made.train(24)
    report = reported(read_sweep(made.end(), signals=True))
    cells = texts(report, "comparison")
    assert "1 eval/loss + 0.5 general/forgetting" in cells
    assert f"± {0.04 * math.hypot(1, 0.5):.2g}" in cells[cells.index("1 eval/loss + 0.5 general/forgetting") + 1]


def test_trials_that_were_stopped_are_all_listed_with_their_sentences(tmp_path):
    history = read_sweep(finished(tmp_path, reason="Stopped: it was too slow."), signals=True)
    cells = texts(reported(history), "stopped")
    stopped = [trial.name for trial in history.result.trials if trial.outcome is Outcome.STOPPED]
    assert stopped
    assert set(stopped) <= set(cells)
    assert cells.count("Stopped: it was too slow.") == len(stopped)


def test_saved_samples_are_those_that_stopped_trials_did_not_train(tmp_path):
    history = read_sweep(finished(tmp_path), signals=True)
    early = [t for t in history.result.trials if t.outcome is Outcome.STOPPED]
    spared = sum(LEVELS[-1] - trial.samples_seen for trial in early)
    # Every trial takes 1/100 s per sample.
    assert f"{len(early)} trials ended early, which spared {spared:,} samples" in told(reported(history))
    assert spared == history.result.samples_exhaustive - history.result.samples_trained


def certain(history):
    """Add the verdict of repeats and the audit of two stopped trials."""
    winner, runner_up = history.result.winner, history.result.runner_up
    recipes = tuple(
        RecipeResult(
            name=trial.name.removesuffix(" s0"),
            trial_id=trial.trial_id,
            trial_ids=(trial.trial_id,),
            search_value=trial.objective,
            seeds=3,
            mean=trial.objective + 0.02,
            standard_error=0.01,
            training_seconds=40.0,
            place=place,
            reason=f"because {place}",
        )
        for trial, place in ((winner, "best"), (runner_up, "behind"))
    )
    verdict = WinnerVerdict("decided", 0.9, recipes, 2, 6, 24_576, "It beats the others over three new seeds.")
    share = MeasuredShare(0, 2, 0.0, 0.0, 0.84)
    audit = AuditResult(
        0.2,
        10,
        2,
        2,
        0,
        winner.name,
        share,
        share,
        3,
        0.0,
        None,
        None,
        0.05,
        "too few",
        4096,
        "None of 2 audited trials would have won.",
    )
    stopped = [trial for trial in history.trials if trial.result.outcome is Outcome.STOPPED][:2]
    audited = {
        t.result.trial_id: replace(
            t.result,
            role=Role.AUDIT,
            outcome=Outcome.COMPLETED,
            stopped_at=t.result.samples_seen,
            samples_seen=LEVELS[-1],
        )
        for t in stopped
    }
    repeat = replace(
        history.trial(winner.trial_id),
        result=replace(
            winner, trial_id="repeat", role=Role.REPEAT, config=replace(winner.config, seed=7), name="the repeat"
        ),
    )
    trials = (*(replace(t, result=audited.get(t.result.trial_id, t.result)) for t in history.trials), repeat)
    result = replace(history.result, verdict=verdict, audit=audit, trials=tuple(trial.result for trial in trials))
    return replace(history, result=result, trials=trials)


def test_repeats_and_audit_are_told(tmp_path):
    report = reported(certain(read_sweep(finished(tmp_path), signals=True)))
    assert "How sure: It beats the others over three new seeds." in told(report)
    assert "Was stopping right: None of 2 audited trials would have won." in told(report)
    assert "± 0.01 in the mean of 3 new seeds (this trial: " in told(report)
    assert "of them 4,096 for the audit and 24,576 for the repeats" in told(report)
    cells = texts(report, "certainty")
    assert "because behind" in cells
    assert "0 of 2 (0 %; 95 % interval 0 % to 84 %)" in cells
    stopped = report.sections[anchors(report).index("stopped")]
    assert "Stopped by a rule, then trained on by the audit: 2 trials" in [
        block.summary for block in stopped.blocks[1:]
    ]
    cells = [row for chart in report.charts() for row in chart.spec["data"]["values"]]
    assert "the repeat" not in {row.get("trial") for row in cells}, "repeats are no trials of the search"


def test_recipe_that_repeats_chose_stands_in_the_middle_of_the_next_search(tmp_path):
    history = read_sweep(finished(tmp_path), signals=True)
    other = next(trial.result for trial in history.trials if trial.result.config.effective_batch_size == 32)
    chosen = replace(history, result=replace(history.result, winner=other, runner_up=history.result.winner))
    facts = SweepFacts(chosen, history.ended)
    assert facts.best.result.trial_id == other.trial_id
    edges = find_edges(facts)
    assert (other.config.method, "effective_batch_size") not in {(edge.method, edge.dimension) for edge in edges}
    assert propose(facts, edges).search_space.effective_batch_size.grid() == (16, 32, 64)
    assert any(
        "the winner is the recipe that stands over all its seeds" in text
        for text in texts(reported(chosen), "comparison")
    )
