"""Winner against noise: who takes part, who is out when, and how often chance alone decides."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.decisions.final.repeats import Candidate, RepeatRule, Run, Standing, recommended, standing
from orchestrator.decisions.objective import Constraint, Objective

LOSS = Objective("loss")
Score = Callable[[str, int], Mapping[str, float] | None]


def searched(**losses: float) -> list[Run]:
    return [Run(recipe, 0, {"loss": loss}) for recipe, loss in losses.items()]


def play(rule: RepeatRule, search: list[Run], score: Score, objective: Objective = LOSS) -> tuple[Standing, list[Run]]:
    """Train what is wanted until nothing is."""
    repeated: list[Run] = []
    while (stand := standing(rule, objective, search, repeated, 10)).wanted:
        repeated += [Run(recipe, seed, score(recipe, seed)) for recipe, seed in stand.wanted]
    return stand, repeated


def world(means: list[float], generator: np.random.Generator) -> tuple[list[Run], Score]:
    """Return recipes whose losses scatter with standard deviation 1 about their means."""
    search = [Run(str(place), 0, {"loss": generator.normal(mean)}) for place, mean in enumerate(means)]
    return search, lambda recipe, seed: {"loss": generator.normal(means[int(recipe)])}


# With 1,000 draws the standard error of a rate of 5 % is 0.7 %; 7 % would be three of them too many.
DRAWS, MARGIN = 1000, 0.02


@pytest.mark.parametrize("repeats", [2, 3, 5])
@pytest.mark.parametrize(
    "means", [[0.0, 0.0], [0.0] * 3, [0.0] * 24, [0.0, 0.0, 4.0]], ids=["two", "three", "best of 24", "two and a third"]
)
def test_chance_alone_decides_no_more_often_than_asked(means: list[float], repeats: int) -> None:
    generator = np.random.default_rng(len(means) + repeats)
    rule = RepeatRule(candidates=3, repeats=repeats, confidence=0.95)
    decided = sum(play(rule, *world(means, generator))[0].verdict == "decided" for _ in range(DRAWS))
    assert decided / DRAWS <= 0.05 + MARGIN


def test_a_worse_recipe_that_was_lucky_in_the_search_is_not_declared_better() -> None:
    # 23 recipes that are a little worse: the luckiest of them look as good as the best one.
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(DRAWS):
        stand, _ = play(RepeatRule(3, 3), *world([0.0] + [1.0] * 23, generator))
        wrong += stand.verdict == "decided" and any(each.recipe == "0" and each.behind for each in stand.candidates)
    assert wrong / DRAWS <= 0.025


def test_a_clear_difference_is_decided_early() -> None:
    generator = np.random.default_rng(4)
    stands = [play(RepeatRule(3, 5), *world([0.0] + [12.0] * 11, generator))[0] for _ in range(200)]
    assert all(stand.verdict == "decided" and stand.left[0].recipe == "0" for stand in stands)
    assert np.mean([stand.rounds for stand in stands]) < 2.6, "the first comparison is after two new seeds"


def test_all_candidates_get_the_same_new_seeds() -> None:
    stand, repeated = play(RepeatRule(3, 2), searched(a=1, b=1.1, c=1.2, d=9), lambda recipe, seed: {"loss": seed % 2})
    assert {(run.recipe, run.seed) for run in repeated} == {(recipe, seed) for recipe in "abc" for seed in (10, 11)}
    assert (stand.verdict, stand.rounds, len(stand.left)) == ("tied", 2, 3)


def test_who_is_out_gets_no_more_seeds() -> None:
    noise = {10: 0.0, 11: 0.01, 12: 0.02, 13: 0.0}
    means = {"a": 1.0, "b": 1.001, "c": 5.0}
    stand, repeated = play(
        RepeatRule(3, 4), searched(a=1, b=1.1, c=1.2), lambda recipe, seed: {"loss": means[recipe] + noise[seed]}
    )
    assert stand.verdict == "tied"
    assert [each.recipe for each in stand.left] == ["a", "b"]
    assert sum(run.recipe == "c" for run in repeated) == 2
    assert "worse than the leader by 4 loss after 2 new seeds" in stand.candidates[2].behind


def test_the_search_only_chooses_the_candidates() -> None:
    """A score that a recipe was chosen for says nothing in the comparison."""
    stand, _ = play(
        RepeatRule(2, 2), searched(a=-100, b=1), lambda recipe, seed: {"loss": {"a": 2, "b": 1}[recipe] + seed / 1e4}
    )
    assert stand.verdict == "decided"
    assert [each.recipe for each in stand.left] == ["b"]
    assert [each.recipe for each in stand.candidates] == ["a", "b"]


def test_repeats_of_the_search_count_as_one_recipe() -> None:
    search = [Run("a", 0, {"loss": 0.0}), Run("a", 1, {"loss": 4.0}), *searched(b=1.0, c=1.5)]
    stand = standing(RepeatRule(2, 2), LOSS, search, [], 10)
    assert [(each.recipe, each.search_key[1]) for each in stand.candidates] == [("b", 1.0), ("c", 1.5)]


def test_higher_is_better() -> None:
    objective = Objective("loss", "max")
    means = {"a": 1.0, "b": 2.0}
    stand, _ = play(
        RepeatRule(2, 2), searched(a=1, b=2), lambda recipe, seed: {"loss": means[recipe] + seed / 1e4}, objective
    )
    assert [each.recipe for each in stand.left] == ["b"]


@pytest.mark.parametrize("rule", [RepeatRule(3, 0), RepeatRule(1, 5), RepeatRule(3, 1)], ids=str)
def test_nothing_is_repeated(rule: RepeatRule) -> None:
    stand = standing(rule, LOSS, searched(a=1, b=2), [], 10)
    assert (stand.verdict, stand.wanted) == ("not tested", ())


def test_one_recipe_has_nobody_to_be_compared_with() -> None:
    stand = standing(RepeatRule(3, 3), LOSS, searched(a=1), [], 10)
    assert (stand.verdict, stand.wanted, len(stand.candidates)) == ("not tested", (), 1)


def test_candidates_keep_the_constraints() -> None:
    objective = Objective("loss", constraints=(Constraint("forgetting", at_most=0.1),))
    search = [
        Run(name, 0, {"loss": loss, "forgetting": lost})
        for name, loss, lost in [("a", 1, 0.5), ("b", 2, 0.0), ("c", 3, 0.0)]
    ]
    stand = standing(RepeatRule(3, 2), objective, search, [], 10)
    assert [each.recipe for each in stand.candidates] == ["b", "c"]


@pytest.mark.parametrize("broken", [None, {"loss": float("nan")}], ids=["diverged", "no number"])
def test_a_repeat_that_breaks_puts_its_recipe_behind(broken: Mapping[str, float] | None) -> None:
    stand, repeated = play(
        RepeatRule(2, 3), searched(a=1, b=2), lambda recipe, seed: broken if recipe == "a" else {"loss": 2.0}
    )
    assert (stand.verdict, [each.recipe for each in stand.left]) == ("decided", ["b"])
    assert "round 1" in stand.candidates[0].behind
    assert len(repeated) == 2


def test_a_recipe_that_breaks_a_constraint_on_average_falls_behind() -> None:
    objective = Objective("loss", constraints=(Constraint("forgetting", at_most=0.1),))
    search = [Run(name, 0, {"loss": 1.0, "forgetting": 0.0}) for name in "ab"]
    lost = {("a", 10): 0.15, ("a", 11): 0.0, ("b", 10): 0.05, ("b", 11): 0.12}
    stand, _ = play(
        RepeatRule(2, 2), search, lambda recipe, seed: {"loss": 1.0, "forgetting": lost[recipe, seed]}, objective
    )
    assert [each.recipe for each in stand.left] == ["b"]
    assert "constraint" in stand.candidates[0].behind


def test_where_all_break_nobody_is_better() -> None:
    stand, _ = play(RepeatRule(3, 4), searched(a=1, b=2, c=3), lambda recipe, seed: None)
    assert (stand.verdict, len(stand.left), stand.rounds) == ("tied", 3, 1)
    assert all(each.behind for each in stand.left)


def test_equal_results_are_tied_however_sure() -> None:
    stand, _ = play(RepeatRule(2, 3), searched(a=1, b=2), lambda recipe, seed: {"loss": 1.0})
    assert stand.verdict == "tied"


def test_the_cheaper_of_tied_recipes_is_recommended() -> None:
    a, b, c = (Candidate(name, (0.0, 1.0), [mean]) for name, mean in [("a", 1.0), ("b", 1.1), ("c", 1.2)])
    assert recommended([a, b, c], {"a": 30.0, "b": 10.0, "c": 10.5}) is b
    assert recommended([a, b], {"a": 10.9, "b": 10.0}) is a, "about equally cheap: the better mean"


@given(
    seed=st.integers(0, 10_000),
    repeats=st.integers(2, 4),
    candidates=st.integers(2, 5),
    recipes=st.integers(2, 8),
    confidence=st.sampled_from([0.6, 0.9, 0.99]),
    stop=st.integers(0, 20),
)
@settings(deadline=None, max_examples=60)
def test_it_ends_and_never_depends_on_the_order_in_which_repeats_end(
    seed: int, repeats: int, candidates: int, recipes: int, confidence: float, stop: int
) -> None:
    generator = np.random.default_rng(seed)
    rule = RepeatRule(candidates, repeats, confidence)
    search, score = world(list(np.linspace(0, 3, recipes)), generator)
    stand, repeated = play(rule, search, score)
    taking_part = min(candidates, recipes)
    assert taking_part <= len(repeated) <= taking_part * repeats
    assert len({(run.recipe, run.seed) for run in repeated}) == len(repeated)
    shuffled = [repeated[place] for place in generator.permutation(len(repeated))]
    again = standing(rule, LOSS, search[::-1], shuffled, 10)
    assert (again.verdict, [each.recipe for each in again.left]) == (
        stand.verdict,
        [each.recipe for each in stand.left],
    )
    part = standing(rule, LOSS, search, repeated[:stop], 10)
    known = {(run.recipe, run.seed) for run in repeated[:stop]}
    assert not known & set(part.wanted)
    assert set(part.wanted) <= {(run.recipe, run.seed) for run in repeated}
