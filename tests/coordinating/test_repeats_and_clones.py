"""A clone of a candidate counts once in the winner's repeats: as a trial that chose its recipe, or as a repeat."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.coordinating.audits_and_repeats import AuditsAndRepeats, recipe_of, repeat_standing
from orchestrator.decisions.final.repeats import RepeatRule, Standing
from orchestrator.decisions.objective import Objective
from orchestrator.records import Origin, Outcome, Role, TrialConfig
from orchestrator.spec.trial.identity import trial_fingerprint
from orchestrator.storage.trial_entries import TrialEntry

OBJECTIVE = Objective("eval/loss")
RULE = RepeatRule(candidates=3, repeats=3)


def ended(rate: float, seed: int, loss: float, role: Role = Role.SEARCH) -> TrialEntry:
    config = TrialConfig(method="full", effective_batch_size=8, learning_rate=rate, samples=64, seed=seed)
    origin = Origin("0" * 10, "parent", 0) if role is Role.CLONE else None
    return TrialEntry(
        trial_fingerprint(config),
        f"full lr{rate:g} s{seed}",
        config,
        outcome=Outcome.COMPLETED,
        scores={"eval/loss": loss},
        samples_seen=64,
        role=role,
        origin=origin,
    )


def stands(entries: Sequence[TrialEntry]) -> Standing:
    return repeat_standing(entries, RULE, OBJECTIVE)


def search_value(stand: Standing, entry: TrialEntry) -> float:
    (found,) = [each for each in stand.candidates if each.recipe == recipe_of(entry.config)]
    return found.search_key[1]


def test_clone_with_a_seed_of_the_rounds_is_a_repeat_and_nothing_else() -> None:
    best, other = ended(1e-3, 0, 1.0), ended(2e-3, 0, 1.1)
    clone = ended(1e-3, 1, 3.0, Role.CLONE)
    stand = stands([best, other, clone])
    assert search_value(stand, best) == 1.0
    assert stand.wanted == ((recipe_of(other.config), 1),)


def test_clone_with_a_seed_before_the_rounds_helps_to_choose_and_is_no_repeat() -> None:
    best, other = ended(1e-3, 3, 1.0), ended(2e-3, 3, 1.1)
    clone = ended(1e-3, 1, 2.0, Role.CLONE)
    stand = stands([best, other, clone])
    assert search_value(stand, best) == 1.5
    assert {seed for _, seed in stand.wanted} == {4}


def test_clone_that_is_the_only_trial_of_its_recipe_is_a_candidate_and_is_repeated_with_other_seeds() -> None:
    best, clone = ended(1e-3, 0, 1.0), ended(3e-3, 1, 0.5, Role.CLONE)
    entries = [best, clone]
    beside = AuditsAndRepeats(OBJECTIVE, rule=RULE)
    seeds: set[int] = set()
    while made := beside.next_repeats({entry.trial_id: entry for entry in entries}):
        for config, _ in made:
            repeat = ended(config.learning_rate, config.seed, 0.5 + 0.01 * config.seed, Role.REPEAT)
            assert repeat.trial_id not in {entry.trial_id for entry in entries}
            entries.append(repeat)
            if recipe_of(config) == recipe_of(clone.config):
                seeds.add(config.seed)
    stand = stands(entries)
    assert search_value(stand, clone) == 0.5
    assert stand.verdict != "not tested"
    assert 1 not in seeds
    assert len(seeds) == stand.rounds


@given(
    clones=st.lists(st.tuples(st.sampled_from([1e-3, 2e-3, 3e-3]), st.integers(0, 5)), max_size=6, unique=True),
    searched=st.lists(st.sampled_from([1e-3, 2e-3]), min_size=2, max_size=2, unique=True),
)
def test_repeats_end_whatever_was_cloned(clones: list[tuple[float, int]], searched: list[float]) -> None:
    entries = {entry.trial_id: entry for entry in (ended(rate, 0, rate * 1000) for rate in searched)}
    for rate, seed in clones:
        clone = ended(rate, seed, rate * 1000 + 0.1 * seed, Role.CLONE)
        entries.setdefault(clone.trial_id, clone)
    beside = AuditsAndRepeats(OBJECTIVE, rule=RULE)
    rounds = 0
    while made := beside.next_repeats(entries):
        for config, _ in made:
            repeat = ended(config.learning_rate, config.seed, config.learning_rate * 1000, Role.REPEAT)
            assert repeat.trial_id not in entries
            entries[repeat.trial_id] = repeat
        rounds += 1
        assert rounds <= RULE.repeats
    stand = stands(list(entries.values()))
    assert stand.wanted == ()
    assert stand.verdict in ("decided", "tied")
    own = [entry for entry in entries.values() if recipe_of(entry.config) in {each.recipe for each in stand.candidates}]
    counted = sum(len(each.values) for each in stand.candidates)
    assert counted <= sum(entry.role is not Role.SEARCH for entry in own)


@pytest.mark.parametrize("takes", ["weights", "training"])
def test_clone_from_weights_is_no_recipe(takes: str) -> None:
    best, other = ended(1e-3, 0, 1.0), ended(2e-3, 0, 1.1)
    clone = ended(1e-3, 1, 0.1, Role.CLONE)
    clone.origin = Origin(best.trial_id, best.name, 64, takes)
    stand = stands([best, other, clone])
    assert search_value(stand, best) == 1.0
    assert {seed for _, seed in stand.wanted} == {1}
    assert len(stand.wanted) == 2
