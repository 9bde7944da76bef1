"""The scaling rule, and the shipped mini sweeps against it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting.findings.registration.designs import designs
from orchestrator.reporting.findings.registration.render import Subject, milestones, sweep_values
from orchestrator.reporting.findings.registration.scaling import PAPER_BASELINE, SCALES, rate
from orchestrator.spec.loading import load_sweep, parse_sweep
from orchestrator.spec.reading.shipped import shipped_folder
from orchestrator.testbed.sources import load_rows

MINI = SCALES["mini"]


def test_every_design_has_a_shipped_mini_sweep_and_no_other_file_is_there():
    files = {file.stem for file in (shipped_folder("search_spaces") / "secret_recipe_mini").glob("*.yaml")}
    assert files == set(designs())


@pytest.mark.parametrize("name", designs())
def test_shipped_mini_sweeps_are_what_the_rule_makes_of_the_paper(name):
    model = "testbed" if designs()[name].base == "first" else "./testbed-small"
    made = parse_sweep(sweep_values(name, MINI, Subject(model=model)))
    assert load_sweep(f"secret_recipe_mini/{name}").content() == made.content()


def test_mini_numbers_worked_out_by_hand():
    # 825,487 rows become 720; 128, 3,840 and 7,680 are divided by 32; 25 steps of 3,840 are 1.163 % of ten epochs.
    grid = load_sweep("secret_recipe_mini/grid")
    space = grid.search_space
    assert grid.budget.samples == 7_200
    assert list(space.effective_batch_size.grid()) == [4, 120, 240]
    assert list(space.learning_rate.grid()) == [5e-5, 2.5e-4, 1e-3, 2e-3, 3e-3, 5e-3]
    assert list(space.warmup.grid()) == [{"samples": 84}]
    assert load_sweep("secret_recipe_mini/tulu").budget.samples == 1_440


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
def test_ratios_of_batches_and_share_of_warmup_are_the_papers_at_every_scale(scale):
    small, lab, large = (scale.batch(size) for size in (128, 3_840, 7_680))
    assert (lab / small, large / small) == (30, 60)
    paper_share = 25 * 3_840 / 8_254_870
    assert paper_share <= scale.warmup(25) / scale.samples(10) < paper_share + 1 / scale.samples(10)
    assert scale.samples(2) % large == 0, "TULU's end must be a milestone of the largest batch"


@given(baseline=st.floats(1e-7, 1e-1), paper_rate=st.sampled_from([1e-6, 5e-6, 2e-5, 3e-5, 1e-4]))
def test_rates_keep_the_papers_ratio_to_the_baseline(baseline, paper_rate):
    assert rate(paper_rate, baseline) / baseline == pytest.approx(paper_rate / PAPER_BASELINE, rel=0.006)


def test_scores_of_all_designs_are_taken_at_the_same_samples():
    def levels(name):
        whole = MINI.samples(designs()[name].epochs)
        return [round(share * whole) for share in milestones(name, MINI)]

    assert levels("grid") == [240, 480, 960, 1_440, 2_880, 4_320, 5_760, 7_200]
    assert levels("tulu") == levels("grid")[:4]
    assert levels("tulu_plus") == levels("grid")[:5]


def test_training_test_and_validation_rows_of_the_mini_sweeps_share_no_question():
    grid = load_sweep("secret_recipe_mini/grid")
    sources = {entry.name: entry.data for entry in grid.evaluation if entry.kind != "text_loss"}
    sources |= {"eval": str(grid.data.held_out), "train": grid.data.train}
    questions = {name: {row["messages"][0]["content"] for row in load_rows(source)} for name, source in sources.items()}
    names = sorted(questions)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            assert not questions[one] & questions[other], (one, other)


def test_phases_of_the_strategy_sweep_are_the_rows_of_the_other_sweeps():
    phases = load_sweep("secret_recipe_mini/strategy").data.phases
    together = [str(row) for phase in phases for row in load_rows(phase.train)]
    assert sorted(together) == sorted(map(str, load_rows(load_sweep("secret_recipe_mini/grid").data.train)))


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
@pytest.mark.parametrize("name", designs())
def test_every_design_is_a_valid_sweep_for_a_base_and_data_of_ones_own(name, scale):
    own = Subject("./base", 3e-4, "train.jsonl", "test.jsonl", "validation.jsonl", "general.txt", "mine")
    spec = parse_sweep(sweep_values(name, scale, own, seeds=3))
    assert spec.name.endswith("_mine")
    assert {entry.name for entry in spec.evaluation} <= {"validation", "eval", "general"}
    assert spec.search_space.repeats == 3
