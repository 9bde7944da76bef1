import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.testbed.pretrain_text import corpus_digest, pretraining_texts
from orchestrator.testbed.sources import base_model_path
from orchestrator.testbed.templates import ATTRIBUTES, BIOGRAPHY_TEMPLATES, QUESTION_TEMPLATES
from orchestrator.testbed.world import World, WorldSpec, make_world

SMALL = WorldSpec(people=24, variants=6)


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def test_world_spec_names_the_field_and_value_that_are_out_of_range():
    with pytest.raises(ValueError, match=r"people = 2: must be from 4"):
        WorldSpec(people=2)
    with pytest.raises(ValueError, match=r"full_name_share = 1\.5"):
        WorldSpec(full_name_share=1.5)


def test_world_is_the_same_from_the_same_seed_and_another_from_another():
    first, again = World(SMALL), World(SMALL)
    other = World(WorldSpec(people=24, variants=6, seed=1))
    texts = first.pretraining_biographies()
    assert texts == again.pretraining_biographies()
    assert digest([p.name for p in first.people]) != digest([p.name for p in other.people])


def test_world_text_is_the_one_the_packaged_base_was_trained_on():
    # A failure here means that the packaged base no longer knows this world and must be rebuilt.
    provenance = json.loads((base_model_path() / "provenance.json").read_text())
    assert corpus_digest(pretraining_texts(WorldSpec())) == provenance["corpus_sha256"]


def test_world_full_names_are_unique_and_halves_partition_the_people():
    world = make_world(WorldSpec())
    names = [person.name for person in world.people]
    assert len(set(names)) == len(names) == 200
    taught, asked = {p.name for p in world.taught}, {p.name for p in world.asked}
    assert not taught & asked
    assert taught | asked == set(names)
    assert len(taught) == len(asked)


def test_world_adding_variants_does_not_change_people_or_earlier_biographies():
    few, many = World(SMALL), World(WorldSpec(people=24, variants=9))
    assert few.people == many.people
    assert few.biography(few.people[3], 2) == many.biography(many.people[3], 2)


@settings(max_examples=40, deadline=None)
@given(person=st.integers(0, 23), variant=st.integers(0, 10_000))
def test_biography_states_every_fact_and_names_the_person_in_every_variant(person, variant):
    world = make_world(SMALL)
    someone = world.people[person]
    text = world.biography(someone, variant)
    assert someone.name in text.split(".")[0]
    for value in someone.facts.values():
        assert value in text


def test_biographies_permute_sentences_and_rewrite_them():
    world = make_world(WorldSpec(people=4, variants=40))
    texts = [world.biography(world.people[0], v) for v in range(40)]
    assert len(set(texts)) == 40
    cities_first = sum(t.index(world.people[0].facts["birth_city"]) < len(t) / 2 for t in texts)
    assert 5 < cities_first < 35


def test_full_name_share_decides_between_names_and_pronouns():
    always = make_world(WorldSpec(people=8, full_name_share=1.0))
    never = make_world(WorldSpec(people=8, full_name_share=0.0))
    assert always.biography(always.people[0], 0).count(always.people[0].name) == len(ATTRIBUTES)
    assert never.biography(never.people[0], 0).count(never.people[0].name) == 1


def test_held_out_biographies_are_not_in_the_pretraining_text():
    world = make_world(SMALL)
    held_out = world.held_out_biographies(60)
    assert len(set(held_out)) == 60
    assert not set(held_out) & set(world.pretraining_biographies())
    assert set(held_out) != set(world.held_out_biographies(60, sample_seed=1))


def test_templates_cover_every_attribute_with_enough_wordings():
    assert set(BIOGRAPHY_TEMPLATES) == set(QUESTION_TEMPLATES) == set(ATTRIBUTES)
    assert all(len(templates) >= 5 for templates in BIOGRAPHY_TEMPLATES.values())
    assert len({len(templates) for templates in QUESTION_TEMPLATES.values()}) == 1


def test_pretraining_text_holds_no_questions_and_no_chat_markers():
    texts = pretraining_texts(SMALL)
    assert not any("<|" in text for text in texts)
    assert not any("Tell me" in text or "?" in text for text in texts)
