"""The analyses find what was planted in made-up runs, and say so when there is too little to find."""

from __future__ import annotations

import math

import pytest

from orchestrator.reporting.findings.analysis.analyse import analyse
from orchestrator.reporting.findings.analysis.early_signals import early
from orchestrator.reporting.findings.analysis.runs import Runs
from orchestrator.reporting.findings.analysis.selection import (
    at_seconds,
    best_rate,
    chosen,
    chosen_samples,
    final,
    peak,
)
from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.registration import registration
from tests.worlds.planted_runs import LEVELS, Planted, planted_suite


def outcome(finding: str, runs: Runs, complete=None, testbed=True):
    shared = registration()
    there = {name: complete is None or name in complete for name in designs()}
    return analyse(shared.finding(finding), runs, there, shared, testbed)


@pytest.fixture(scope="module")
def as_claimed():
    return planted_suite(Planted())


def effect_of(finding, runs, comparison, target=None):
    return outcome(finding, runs).get(comparison, target).effect


def test_f1_finds_the_planted_lead_of_the_larger_batch_and_that_curves_cross(as_claimed):
    found = outcome("F1", as_claimed)
    assert found.verdict == "reproduced"
    assert found.get("lab_minus_small").effect.value == pytest.approx(0.1, abs=0.02)
    assert found.get("large_minus_lab").verdict == "not reproduced"


def test_f1_is_not_reproduced_where_the_small_batch_is_as_good():
    assert outcome("F1", planted_suite(Planted(lab_over_small=0.0))).verdict == "not reproduced"


def test_f1_is_undecided_where_seeds_scatter_more_than_batches_differ_and_says_how_many_would_decide():
    found = outcome("F1", planted_suite(Planted(lab_over_small=0.05, scatter=0.06, small_head_start=0.5)))
    assert found.verdict == "undecided"
    needed = found.get("lab_minus_small").needed
    assert needed is None or needed > 4


def test_f1_shows_peak_and_honest_selection_beside_the_final_scores(as_claimed):
    # The small batch peaks early, so choosing its best checkpoint (on the test or honestly) helps it.
    final_lead = effect_of("F1", as_claimed, "lab_minus_small").value
    assert effect_of("F1", as_claimed, "peak_lab_minus_small").value < final_lead - 0.03
    assert effect_of("F1", as_claimed, "chosen_lab_minus_small").value < final_lead - 0.03


def test_f2_tells_a_signal_that_only_follows_the_rate_from_one_that_says_more():
    following = outcome("F2", planted_suite(Planted(best_rate=1e-6)))
    assert following.get("grad_norm_across_rates").effect.value > 0.8
    assert following.get("grad_norm_beyond_null").verdict != "reproduced"
    telling = outcome("F2", planted_suite(Planted(norm_marks_better=True)))
    assert telling.verdict == "reproduced"
    assert telling.get("grad_norm_beyond_null").effect.low > 0


def test_f2_reads_the_noise_corrected_norm_of_small_batches_from_their_split_twins(as_claimed):
    assert effect_of("F2", as_claimed, "corrected_norm_across_rates").n == 72
    without = Runs(run for run in as_claimed if run.arm.design != "noise")
    complete = set(designs()) - {"noise"}
    assert outcome("F2", without, complete).verdict is None


@pytest.mark.parametrize(
    ("warmup", "verdict"), [(0.0, "reproduced"), (-0.1, "not reproduced"), (0.1, "not reproduced")]
)
def test_f3_says_whether_warmup_matters(warmup, verdict):
    assert outcome("F3", planted_suite(Planted(warmup=warmup))).verdict == verdict


@pytest.mark.parametrize(("cosine", "verdict"), [(0.0, "reproduced"), (0.1, "reproduced"), (-0.1, "not reproduced")])
def test_f4_asks_only_that_constant_is_not_worse(cosine, verdict):
    assert outcome("F4", planted_suite(Planted(cosine=cosine))).verdict == verdict


def test_f5_needs_both_the_score_and_the_earlier_peak():
    assert outcome("F5", planted_suite(Planted())).verdict == "reproduced"
    assert outcome("F5", planted_suite(Planted(phased=-0.1))).verdict == "not reproduced"
    assert outcome("F5", planted_suite(Planted(phased_delay=1.0))).verdict == "not reproduced"


def test_f6_is_not_reproduced_where_the_lead_is_one_of_samples_alone():
    assert outcome("F6", planted_suite(Planted())).verdict == "reproduced"
    bought = outcome("F6", planted_suite(Planted(long_tulu_bonus=0.1)))
    assert bought.get("as_published").verdict == "reproduced"
    assert bought.get("equal_samples_long").verdict == "not reproduced"
    assert bought.verdict == "not reproduced"


def test_f7_finds_that_a_base_needs_its_own_rate_and_that_one_step_does_not_reach_it():
    far = outcome("F7", planted_suite(Planted(second_best_rate=1e-6)))
    assert far.get("own_rate_matters").verdict == "reproduced"
    assert far.get("three_rates_second").verdict == "not reproduced"
    near = outcome("F7", planted_suite(Planted(second_best_rate=5e-6)))
    assert near.get("three_rates_second").verdict == "reproduced"


def test_a_finding_waits_for_its_sweeps(as_claimed):
    found = outcome("F6", as_claimed, {"schedule", "tulu"})
    assert found.verdict is None
    assert "tulu_long" in found.why


def test_a_finding_gives_no_verdict_with_too_few_seeds(as_claimed):
    two = Runs(run for run in as_claimed if run.seed < 2)
    found = outcome("F3", two)
    assert found.verdict is None
    assert "2 seeds" in found.why


def test_data_without_questions_are_judged_by_the_held_out_loss(as_claimed):
    def without_questions(run):
        points = tuple(
            type(point)(
                point.samples,
                point.seconds,
                {"eval/loss": point.scores["eval/loss"], "validation/loss": point.scores["validation/loss"]},
            )
            for point in run.points
        )
        return type(run)(run.arm, run.seed, points, run.signals)

    found = outcome("F1", Runs(map(without_questions, as_claimed)), testbed=False)
    assert (found.target, found.verdict) == ("held_out_loss", "reproduced")
    assert {each.target for each in found.judged} == {"held_out_loss"}


def test_losses_are_turned_so_that_more_is_better(as_claimed):
    run = as_claimed.of("grid")[0]
    assert final(run, "held_out_loss") == -run.points[-1].scores["eval/loss"]
    assert peak(run, "held_out_loss") == max(-point.scores["eval/loss"] for point in run.points)


def test_a_score_that_is_no_number_is_worse_than_any_other(as_claimed):
    run = as_claimed.of("grid")[0]
    scores = {**run.points[-1].scores, "eval/loss": math.nan}
    broken = type(run)(run.arm, run.seed, (type(run.points[0])(240, 1.0, scores),))
    assert final(broken, "held_out_loss") == -math.inf


def test_chosen_takes_the_earliest_of_equal_checkpoints_by_validation(as_claimed):
    run = as_claimed.of("grid")[0]
    flat = tuple(
        type(point)(point.samples, point.seconds, {**point.scores, "eval/loss": float(place), "validation/loss": 1.0})
        for place, point in enumerate(run.points)
    )
    again = type(run)(run.arm, run.seed, flat)
    assert chosen_samples(again, "held_out_loss") == LEVELS[0]
    assert chosen(again, "held_out_loss") == 0.0


def test_equal_time_reads_between_milestones(as_claimed):
    run = as_claimed.of("grid")[0]
    (one, two), curve = run.points[:2], run.curve("benchmarks")
    between = at_seconds(run, "benchmarks", (one.seconds + two.seconds) / 2)
    assert between == pytest.approx((curve[0][1] + curve[1][1]) / 2)
    assert math.isnan(at_seconds(run, "benchmarks", one.seconds / 2))


def test_best_rate_never_looks_at_the_test_scores(as_claimed):
    arms = as_claimed.arms("grid", lambda arm: arm.batch == 3_840)

    def betrayed(run):
        points = tuple(
            type(p)(p.samples, p.seconds, {**p.scores, "knowledge/exact_match": -run.arm.rate}) for p in run.points
        )
        return type(run)(run.arm, run.seed, points, run.signals)

    seeds = as_claimed.seeds("grid")
    same = Runs(map(betrayed, as_claimed))
    assert best_rate(same, arms, "knowledge", seeds) == best_rate(as_claimed, arms, "knowledge", seeds)


def test_early_reads_the_second_half_of_the_span_and_falls_back_to_the_last_step_before(as_claimed):
    run = as_claimed.arms("grid", lambda arm: arm.batch == 7_680)[0]
    signals = as_claimed.get(run, 0).signals
    by_seen = {signal.samples_seen: signal.grad_norm for signal in signals}
    found = early(as_claimed.get(run, 0), "grad_norm", 960)
    assert found == pytest.approx((by_seen[720] + by_seen[960]) / 2)
    assert early(as_claimed.get(run, 0), "grad_norm", 470) == by_seen[240]
    assert math.isnan(early(as_claimed.get(run, 0), "grad_norm", 100))
