"""What people read of audit and repeats: the sentences, the live table, the end summary, and the plan."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from orchestrator.decisions.final.audit import measure
from orchestrator.records import Outcome, Role, TrialConfig
from orchestrator.reporting.terminal.live import render
from orchestrator.reporting.terminal.plans import print_plan
from orchestrator.reporting.terminal.summary import decision_note, print_summary
from orchestrator.reporting.text.verdicts import (
    audit_sentence,
    certainty_metrics,
    certainty_tags,
    unaudited_sentence,
    untested_sentence,
    verdict_sentence,
)
from orchestrator.results.records import (
    AuditResult,
    MeasuredShare,
    RecipeResult,
    SweepResult,
    SweepView,
    TrackingIds,
    TrialResult,
    TrialView,
    WinnerVerdict,
)


def recipe(
    name: str, place: Any, mean: float | None, seconds: float = 10.0, reason: str = "recommended"
) -> RecipeResult:
    error = None if mean is None else 0.01
    return RecipeResult(name, f"{name}-id", (f"{name}-id",), 1.0, 2, mean, error, seconds, place, reason)


def test_decided_names_all_that_are_behind() -> None:
    behind = recipe("lora", "behind", 1.5, reason="worse than the leader by 0.5 eval/loss after 2 new seeds")
    broken = recipe("ia3", "behind", None, reason="its repeat of round 1 diverged, failed, or has no finite result")
    told = verdict_sentence("decided", [recipe("full", "best", 1.0), behind, broken], "eval/loss", 0.95, 2, True, True)
    assert told.startswith("Decided with 95 % confidence after 2 new seeds: full is best, eval/loss 1 ± 0.01.")
    assert "lora (1.5 ± 0.01): worse than the leader by 0.5" in told
    assert "ia3 (-): its repeat of round 1 diverged" in told


def test_decided_by_broken_repeats_alone_claims_no_confidence() -> None:
    broken = recipe("ia3", "behind", None, reason="its repeat of round 1 diverged, failed, or has no finite result")
    told = verdict_sentence("decided", [recipe("full", "best", 1.0), broken], "eval/loss", 0.95, 1, False, True)
    assert "95 %" not in told
    assert told.startswith(
        "Decided after 1 new seed without a test: only of full all repeats went well. Behind: ia3 (-)"
    )


def test_tied_says_why_one_is_recommended() -> None:
    cheap, dear = recipe("lora", "best", 1.1, seconds=5.0), recipe("full", "tied", 1.0, seconds=20.0)
    told = verdict_sentence("tied", [cheap, dear], "eval/loss", 0.9, 3, True, True)
    assert told.startswith(
        "Tied: after 3 new seeds lora (1.1 ± 0.01) and full (1 ± 0.01) cannot be told apart by eval/loss with 90 %"
    )
    assert told.endswith("lora is recommended: it is the cheapest, 5 s of training a trial against 20 s at most.")
    equal = replace(dear, training_seconds=5.2)
    assert "of about equally cheap ones it has the best mean" in verdict_sentence(
        "tied", [cheap, equal], "x", 0.9, 3, True, True
    )
    assert "in every candidate that was left" in verdict_sentence("tied", [cheap, equal], "x", 0.9, 1, True, False)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((3, 3, True, 0), "the search goes on"),
        ((1, 1, False, 0), "winner.candidates is 1"),
        ((3, 1, False, 0), "only one recipe completed"),
        ((3, 0, False, 0), "no recipe completed"),
        ((3, 2, False, 4), "4 repeats of 2 candidates have ended, more are to come"),
    ],
)
def test_not_tested_says_why(arguments: tuple[int, int, bool, int], part: str) -> None:
    assert part in untested_sentence(*arguments)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((0, 0, 0, "a"), "nothing to audit"),
        ((9, 0, 0, "a"), "None of 9 stopped trials was drawn"),
        ((9, 2, 0, "a"), "None of the 2 trials drawn"),
        ((9, 2, 2, ""), "no other trial has completed"),
    ],
)
def test_audit_without_figures_says_why(arguments: tuple[int, int, int, str], part: str) -> None:
    assert part in unaudited_sentence(*arguments)


@pytest.mark.parametrize(
    ("audited", "tolerated", "end"),
    [
        ([0.5] * 6, 0.05, "Too high: even the lower end is above the tolerated 5 %; lower stopping.forecast.miss."),
        ([2.0] * 80, 0.05, "That is within the tolerated 5 %."),
        ([2.0, 3.0], 0.005, "Too few audited to tell whether that is more than the tolerated 0.5 %."),
        ([2.0], None, "No rate is tolerated by name (the forecast is off)."),
    ],
)
def test_audit_sentence_judges(audited: list[float], tolerated: float | None, end: str) -> None:
    figures = measure([(0.0, value) for value in audited], [(0.0, 1.0)], 90, 91, 0.0, tolerated)
    assert figures is not None
    told = audit_sentence(figures, "full lr3e-4", 90, "eval/loss")
    assert told.endswith(end)
    assert f"of {len(audited)} audited of 90 stopped trials" in told
    assert ("lost nothing" in told) == (min(audited) > 1)


CONFIG = TrialConfig("full", 8, 1e-3, 64)


def trial(name: str, role: Role, outcome: Outcome = Outcome.COMPLETED) -> TrialResult:
    return TrialResult(f"{name}-id", name, CONFIG, outcome, 64, {"eval/loss": 1.0}, 1.0, role=role)


def sweep_result() -> SweepResult:
    trials = (trial("full", Role.SEARCH), trial("lora", Role.AUDIT), trial("full s1", Role.REPEAT))
    share = MeasuredShare(1, 4, 0.25, 0.006, 0.8)
    audit = AuditResult(
        0.1, 9, 4, 4, 0, "full", share, share, 2, 0.1, 0.0, 0.2, 0.05, "too few", 128, "AUDIT SENTENCE."
    )
    verdict = WinnerVerdict(
        "tied", 0.95, (recipe("full", "best", 1.0), recipe("lora", "tied", 1.0)), 2, 4, 256, "TIE SENTENCE."
    )
    return SweepResult(
        "tiny",
        "id",
        "completed",
        "eval/loss",
        "min",
        trials[0],
        trials[1],
        {},
        trials,
        {"completed": 3},
        192,
        640,
        1.0,
        1.0,
        1.0,
        2.0,
        2,
        "runs/tiny",
        TrackingIds(),
        audit=audit,
        verdict=verdict,
    )


def printed(show: Any) -> str:
    console = Console(file=io.StringIO(), width=160)
    show(console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_summary_and_note_tell_both_sentences_and_the_roles() -> None:
    told = printed(lambda console: print_summary(sweep_result(), console))
    note = decision_note(sweep_result())
    for text in (told, note):
        assert "TIE SENTENCE." in text
        assert "AUDIT SENTENCE." in text
        assert "completed (audit)" in text
        assert "completed (repeat)" in text
        assert "1 stopped and then audited, 1 repeats" in text


def test_summary_names_the_runner_up_in_one_line() -> None:
    result = sweep_result()
    second = replace(result.trials[0], name="a name that is far longer than the table of scores " * 2 + "s0")
    told = printed(lambda console: print_summary(replace(result, runner_up=second), console))
    assert f"runner-up: {second.name}\n" in told


def test_summary_without_them_is_silent() -> None:
    plain = replace(sweep_result(), audit=None, verdict=None, trials=(trial("full", Role.SEARCH),))
    told = printed(lambda console: print_summary(plain, console))
    assert "Audit" not in told
    assert "noise" not in told
    assert certainty_metrics(plain) == {}
    assert certainty_tags(plain) == {}


def test_metrics_and_tags_of_the_sweep() -> None:
    values = certainty_metrics(sweep_result())
    assert values["audit/false_stops"] == 0.25
    assert values["audit/regret_high"] == 0.2
    assert (values["winner/decided"], values["winner/tied"], values["winner/mean"]) == (0.0, 1.0, 1.0)
    assert all(isinstance(value, float) for value in values.values())
    tags = certainty_tags(sweep_result())
    assert (tags["winner.verdict"], tags["audit.sentence"]) == ("tied", "AUDIT SENTENCE.")


def test_live_table_names_audits_and_repeats() -> None:
    rows = tuple(
        TrialView(role.value + "-trial", Outcome.RUNNING, 8, 64, 1.0, 1.0, None, role=role)
        for role in (Role.SEARCH, Role.AUDIT, Role.REPEAT)
    )
    view = SweepView("tiny", "eval/loss", "min", 1.0, None, {"running": 3}, 3, 8, 64, rows, None, "")
    lines = printed(lambda console: console.print(render(view))).splitlines()
    roles = {line.split()[0]: line.split()[1:3] for line in lines if "-trial" in line}
    assert roles == {f"{role}-trial": [role, "running"] for role in ("search", "audit", "repeat")}


@pytest.mark.parametrize(("audit", "repeats"), [(0, 0), (320, 384)])
def test_plan_tells_what_they_cost_at_most(audit: int, repeats: int) -> None:
    values = {
        "trials": [],
        "slot_seconds_exhaustive": 1.0,
        "all_trials_known": True,
        "trials_planned": 10,
        "samples_per_trial": 64,
        "milestones": [8, 64],
        "samples_exhaustive": 640,
        "slots": 1,
        "available_memory_gib": 1.0,
        "samples_audit_at_most": audit,
        "samples_repeats_at_most": repeats,
        "missing": [],
    }
    told = printed(lambda console: print_plan(values, console))
    assert ("at most 320 samples more (50 % of exhaustive)" in told) == bool(audit)
    assert ("at most 384 samples more (60 % of exhaustive)" in told) == bool(repeats)
