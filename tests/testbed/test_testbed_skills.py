import random
import re

import pytest

from orchestrator.testbed.prose import prose_documents
from orchestrator.testbed.skills import SKILLS, SkillItem, draw_item, draw_items
from orchestrator.testbed.world import WorldSpec, make_world


def solve(item: SkillItem) -> str:
    """Solve the question from its words alone, in another way than the generators do."""
    question = item.question
    if found := re.fullmatch(r"What is (\d+) ([+-]) (\d+)\?", question):
        left, sign, right = int(found[1]), found[2], int(found[3])
        return str(left + right if sign == "+" else left - right)
    if found := re.fullmatch(r"Sort the (?:letters|numbers) (.+)\.", question):
        return " ".join(sorted(found[1].split()))
    if found := re.fullmatch(r"Reverse the letters (.+)\.", question):
        return found[1][::-1]
    if found := re.fullmatch(r"Remove (\w) from (.+)\.", question):
        return re.sub(rf"\b{found[1]}\b ?", "", found[2]).strip()
    found = re.search(r"in the (\w+) box\?", question)
    assert found is not None, question
    context = re.search(rf"The {found[1]} box holds a (\w+)\.", question)
    assert context is not None, question
    return context[1]


@pytest.mark.parametrize("skill", SKILLS)
def test_skill_answer_is_what_the_question_asks(skill):
    rng = random.Random(3)
    for _ in range(200):
        item = SKILLS[skill](rng)
        assert solve(item) == item.answer
        assert item.answer in item.statement


def test_draw_items_pools_never_share_an_item_whatever_the_seed():
    train = draw_items(random.Random(0), "train", 700)
    test = [item for seed in (0, 1, 2) for item in draw_items(random.Random(seed), "test", 210)]
    assert not {(i.skill, i.key) for i in train} & {(i.skill, i.key) for i in test}
    assert not {i.question for i in train} & {i.question for i in test}


def test_draw_items_are_different_and_skills_take_turns():
    items = draw_items(random.Random(5), "test", 140)
    assert len({(i.skill, i.key) for i in items}) == 140
    assert all(sum(i.skill == skill for i in items) == 20 for skill in SKILLS)


def test_sums_in_either_order_belong_to_one_pool():
    pools = {item.key: item.pool for item in (SKILLS["add"](random.Random(s)) for s in range(3000))}
    assert SkillItem("add", "3+5", "", "", "").pool == SkillItem("add", "3+5", "x", "y", "z").pool
    assert set(pools.values()) == {"train", "test"}
    assert all(int(key.split("+")[0]) <= int(key.split("+")[1]) for key in pools)


def test_draw_items_refuses_more_items_than_there_are():
    with pytest.raises(ValueError, match="no new test item of skill"):
        draw_items(random.Random(0), "test", 7000)


def test_prose_draws_skills_from_the_training_pool_alone():
    text = " ".join(prose_documents(make_world(WorldSpec(people=8)), 400))
    test_items = draw_items(random.Random(9), "test", 1000)
    assert not [item.statement for item in test_items if item.statement in text]
    assert all(draw_item(random.Random(s), "train", "add").pool == "train" for s in range(50))
